package plan

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/roster"
)

const invitedYAML = practiceYAML + "  - {name: s3, provider: invite}\n"

// joins admits a host that enrolled itself, as an operator does who confirmed it; agents that are away hear of it later.
func (s *sim) joins(name string, identity ed25519.PublicKey) error {
	want, head := s.resolve().Own, s.logs[1].State().Head
	if m, member := head.Member(name); member && m.Identity != roster.KeyOf(identity) {
		if err := s.publish(1, Evict(want, head, name)); err != nil {
			return err
		}
		head = s.logs[1].State().Head
	}
	id := sha256.Sum256(identity)
	key := func(what string) roster.Key { return sha256.Sum256(append([]byte(what), identity...)) }
	next := Admit(want, head, roster.Member{
		Name: name, Role: roster.RoleSentry, Identity: roster.KeyOf(identity), NodeID: hex.EncodeToString(id[:20]), Endpoint: "192.0.2.7:26656",
		Mesh: roster.Mesh{Key: key("tunnel"), TLS: key("tls"), Endpoint: "192.0.2.7:51820"},
	})
	if next == nil {
		return nil
	}
	if err := s.publish(1, next); err != nil {
		return err
	}
	if err := s.pushAll(1); err != nil && !errors.Is(err, errUnreachable) {
		return err
	}
	return nil
}

func (s *sim) born() ed25519.PublicKey { return s.key("invited").Public().(ed25519.PublicKey) }

func (s *sim) member(name string) roster.Member {
	m, _ := s.logs[1].State().Head.Member(name)
	return m
}

// Until somebody joins the plan only says so; then it brings the new peer into the settings of the others, and nothing
// of it tries to reach the host.
func TestInvited(t *testing.T) {
	s := up(t)
	s.config = parse(t, invitedYAML)
	p, err := s.apply(0)
	must(t, err)
	if !p.Empty() || !slices.Contains(p.Notes, "s3 waits to be invited: run 'pressenter invite s3'") {
		t.Errorf("while it is waited for:\n%s", words(p, nil))
	}
	identity := s.born()
	must(t, s.joins("s3", identity))
	generation := s.logs[1].State().Head.Generation
	must(t, s.joins("s3", identity))
	if g := s.logs[1].State().Head.Generation; g != generation {
		t.Errorf("the same host joins twice: generation %d, then %d", generation, g)
	}
	p, err = s.apply(0)
	must(t, err)
	got := words(p, nil)
	for _, line := range []string{"restart s1", "restart s2", "restart validator"} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	if strings.Contains(got, "s3") {
		t.Errorf("something is to be done with s3:\n%s", got)
	}
	settles(t, s, "with it")
	if len(s.hosts[1]) != 3 || s.member("s3").Identity != roster.KeyOf(identity) {
		t.Errorf("hosts %v, s3 is %+v", sortedNames(s.hosts[1]), s.member("s3"))
	}
}

// What changes of an invited host comes by the roster alone, with a restart where its settings change.
func TestInvitedFollowsTheConfig(t *testing.T) {
	joined := func(t *testing.T) *sim {
		s := up(t)
		s.config = parse(t, invitedYAML)
		must(t, s.joins("s3", s.born()))
		settles(t, s, "with it")
		return s
	}
	t.Run("private peers", func(t *testing.T) {
		s := joined(t)
		s.config = parse(t, strings.Replace(invitedYAML, "invite}", "invite, private_peers: [\""+friend+"\"]}", 1))
		settles(t, s, "with a private peer")
		if m := s.member("s3"); !slices.Equal(m.PrivatePeers, []string{friend}) || m.Restart <= m.Since {
			t.Errorf("s3 is %+v", m)
		}
	})
	t.Run("another sentry", func(t *testing.T) {
		s := joined(t)
		before := s.member("s3").Restart
		s.config = parse(t, invitedYAML+"  - {name: s4}\n")
		settles(t, s, "with s4")
		if m := s.member("s3"); m.Restart <= before {
			t.Errorf("it does not know s4: %+v", m)
		}
	})
	t.Run("nothing of it", func(t *testing.T) {
		s := joined(t)
		before := s.member("s3").Restart
		s.config = parse(t, invitedYAML+"devices:\n  - {name: laptop, key: "+laptopKey+"}\n")
		settles(t, s, "with a laptop")
		if m := s.member("s3"); m.Restart != before {
			t.Errorf("it is restarted for nothing: %+v", m)
		}
	})
	t.Run("dropped", func(t *testing.T) {
		s := joined(t)
		gone := s.member("s3").Identity
		s.config = parse(t, practiceYAML)
		settles(t, s, "without it")
		if head := s.logs[1].State().Head; !head.Tombstoned(gone) || s.member("s3").Name != "" {
			t.Errorf("it stays: %+v", head.Members)
		}
	})
	t.Run("other keys", func(t *testing.T) {
		s := joined(t)
		gone := s.member("s3").Identity
		must(t, s.joins("s3", s.born()))
		if head := s.logs[1].State().Head; !head.Tombstoned(gone) || s.member("s3").Identity == gone {
			t.Errorf("s3 is %+v, tombstones %+v", s.member("s3"), head.Tombstones)
		}
		settles(t, s, "with other keys")
	})
	t.Run("becomes ours", func(t *testing.T) {
		s := joined(t)
		gone := s.member("s3").Identity
		s.config = parse(t, practiceYAML+"  - {name: s3}\n")
		settles(t, s, "as a host of ours")
		if head := s.logs[1].State().Head; !head.Tombstoned(gone) || s.hosts[1]["s3"] == nil {
			t.Errorf("tombstones %+v, hosts %v", head.Tombstones, sortedNames(s.hosts[1]))
		}
	})
	t.Run("another mesh", func(t *testing.T) {
		s := joined(t)
		s.config.Mesh.Driver = roster.MeshVpnCloud
		settles(t, s, "with another driver")
		p, err := s.apply(0)
		must(t, err)
		if s.member("s3").Name != "" || !strings.Contains(words(p, nil), "s3 waits to be invited") {
			t.Errorf("its keys are of the old mesh: %+v\n%s", s.member("s3"), words(p, nil))
		}
	})
}

// A host of ours is not turned into one that somebody else made: its folder would be destroyed under its node.
func TestInvitedWasOurs(t *testing.T) {
	s := up(t)
	s.config = parse(t, strings.Replace(practiceYAML, "{name: s2}", "{name: s2, provider: invite}", 1))
	_, err := s.apply(0)
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "apply made") {
		t.Errorf("err %v", err)
	}
}

// join is of the property test: the guest of the config joins, as the host that it is or as another.
func (m *machine) join(t *rapid.T) {
	if m.s.logs[1] == nil || !slices.ContainsFunc(m.s.config.Sentries, func(s config.Sentry) bool { return s.Name == guest }) {
		return
	}
	if m.s.guest == nil || m.s.logs[1].State().Head.Tombstoned(roster.KeyOf(m.s.guest)) || rapid.Bool().Draw(t, "another") {
		m.s.guest = m.s.born()
	}
	if err := m.s.joins(guest, m.s.guest); err != nil {
		t.Fatal(err)
	}
}

// guest is the invited sentry of the property test.
const guest = "guest"
