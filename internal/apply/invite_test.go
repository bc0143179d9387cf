package apply

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// newInviter is an operator whose config wants s3 on a host that enrols itself.
func newInviter(t *testing.T) *operator {
	t.Helper()
	o := newOperator(t)
	n := o.next(func(r *roster.Roster) { r.MeshDriver, r.Chain.GenesisSHA256 = roster.MeshWireGuard, roster.Hash{1} })
	must(t, o.sign(o.own, n))
	o.want.Own.MeshDriver = roster.MeshWireGuard
	o.want.Own.Invited = []deployment.Invited{{Name: "s3"}}
	return o
}

func guest(key byte) roster.Member {
	return roster.Member{
		Name: "s3", Role: roster.RoleSentry, Identity: roster.Key{key}, NodeID: strings.Repeat(string("def0123456789"[key%13]), 40),
		Endpoint: "192.0.2.3:26656", Mesh: roster.Mesh{Key: roster.Key{key, 1}, TLS: roster.Key{key, 2}, Endpoint: "192.0.2.3:51820"},
	}
}

// A host is a member once another one has acknowledged it, whoever else is away; asked again nothing changes.
func TestInvite(t *testing.T) {
	o := newInviter(t)
	o.start(t, "s1")
	envs, err := o.invite(t.Context(), guest(100), false)
	must(t, err)
	head := o.agents["s1"].store.State().Head
	if m, member := head.Member("s3"); !member || m.Identity != (roster.Key{100}) || m.Since != head.Generation {
		t.Errorf("s1 knows %+v", head.Members)
	}
	if len(envs) != int(head.Generation) {
		t.Errorf("%d envelopes of %d generations", len(envs), head.Generation)
	}
	_, err = o.invite(t.Context(), guest(100), false)
	must(t, err)
	if again := o.own.rosters.State().Head; again.Hash() != head.Hash() {
		t.Errorf("asked again: %v", roster.Diff(head, again))
	}
	moved := guest(100)
	moved.Endpoint = "192.0.2.4:26656"
	_, err = o.invite(t.Context(), moved, false)
	must(t, err)
	if m, _ := o.own.rosters.State().Head.Member("s3"); m.Endpoint != moved.Endpoint || m.Since != head.Generation {
		t.Errorf("elsewhere: %+v", m)
	}
}

// A host of the same name takes another's place only if the operator knew, and the other one never comes back.
func TestInviteReplaces(t *testing.T) {
	o := newInviter(t)
	o.start(t, "s1", "s2", "validator")
	_, err := o.invite(t.Context(), guest(100), false)
	must(t, err)
	before := o.own.rosters.State().Head
	if _, other := Replaces(before, guest(101)); !other {
		t.Error("nothing is asked")
	}
	if _, other := Replaces(before, guest(100)); other {
		t.Error("the same host is another")
	}
	if _, err := o.invite(t.Context(), guest(101), false); err == nil || o.own.rosters.State().Head.Hash() != before.Hash() {
		t.Errorf("without the operator: %v", err)
	}
	_, err = o.invite(t.Context(), guest(101), true)
	must(t, err)
	head := o.own.rosters.State().Head
	if m, _ := head.Member("s3"); m.Identity != (roster.Key{101}) || !head.Tombstoned(roster.Key{100}) || head.Generation != before.Generation+2 {
		t.Errorf("generation %d, members %+v, tombstones %+v", head.Generation, head.Members, head.Tombstones)
	}
	if _, err := o.invite(t.Context(), guest(100), true); err == nil {
		t.Error("a removed host came back")
	}
	taken := guest(102)
	taken.NodeID = strings.Repeat("a", 40) // s1's
	if _, err := o.invite(t.Context(), taken, true); err == nil || o.own.rosters.State().Head.Hash() != head.Hash() {
		t.Errorf("one that cannot be a member takes another's place: %v", err)
	}
}

// Where nobody acknowledges, the host must not be told that it is a member.
func TestInviteNobodyHears(t *testing.T) {
	o := newInviter(t)
	if _, err := o.invite(t.Context(), guest(100), false); err == nil || !strings.Contains(err.Error(), "no host has acknowledged") {
		t.Errorf("err %v", err)
	}
	o.start(t, "s1")
	o.agents["s1"].follows = false
	ctx, cancel := context.WithCancel(t.Context())
	o.agents["s1"].onAsk = func(n int) {
		if n > 2 {
			cancel()
		}
	}
	if _, err := o.invite(ctx, guest(100), false); err == nil {
		t.Error("nobody follows it")
	}
}

func TestInvitable(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*operator)
		want   string
	}{
		"not wanted": {func(o *operator) { o.want.Own.Invited = nil }, "no sentry \"s3\" with provider: invite"},
		"ours":       {func(o *operator) { o.own.inventory.Put(deployment.Host{Name: "s3"}) }, "not removed yet"},
		"no mesh":    {func(o *operator) { o.want.Own.MeshDriver = roster.MeshVpnCloud }, "not what the config says"},
		"a fork": {func(o *operator) {
			var sides []roster.Envelope
			for _, denom := range []string{"uone", "utwo"} {
				e, err := roster.Sign(o.next(func(r *roster.Roster) { r.Chain.Denom = denom }), o.own.keyring.AdminKey())
				must(t, err)
				sides = append(sides, e)
			}
			must(t, o.own.rosters.Learn(sides))
		}, "forked"},
	} {
		o := newInviter(t)
		tt.change(o)
		_, err := o.invitable(t.Context(), "s3")
		var no *NotInvited
		if !errors.As(err, &no) || !strings.Contains(no.Why, tt.want) || no.Next == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newInviter(t).invitable(t.Context(), "s3"); err != nil {
		t.Error(err)
	}
}

// While a sentry is replaced it is the machine that the roster has which is told, and not the one that is to come.
func TestInviteWhileReplaced(t *testing.T) {
	o := newInviter(t)
	o.start(t, "s1")
	m, _ := o.own.rosters.State().Head.Member("s1")
	o.own.inventory.Replace(deployment.Host{Name: "s1", Role: roster.RoleSentry, Number: 1, Folder: t.TempDir()}, m.Identity)
	_, err := o.invite(t.Context(), guest(100), false)
	must(t, err)
	if _, member := o.agents["s1"].store.State().Head.Member("s3"); !member {
		t.Error("s1 was not told")
	}
}
