package roster

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// world makes generations, good and bad, at random. Its log, which takes
// everything as soon as it is made, says which are good.
type world struct {
	log  *Log
	all  map[Hash]Envelope
	made []*Roster // those that were taken
}

func newWorld(t *rapid.T) *world {
	g1, g2, g3 := deployment()
	w := &world{log: NewLog(g1.Hash()), all: map[Hash]Envelope{}}
	for _, r := range []*Roster{g1, g2, g3} {
		w.offer(t, seal(r, "alice"))
	}
	return w
}

// offer adds e to the log, and to all that is good if it is.
func (w *world) offer(t *rapid.T, e Envelope) {
	before := w.log.State()
	added, err := w.log.Add(e)
	after := w.log.State()
	if err != nil {
		if added || !reflect.DeepEqual(before, after) {
			t.Fatalf("what was refused changed the state: %v", err)
		}
		return
	}
	if !added {
		return
	}
	w.all[e.Hash()] = e
	r, err := Parse(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	w.made = append(w.made, r)
	w.checkStep(t, before, after)
}

// checkStep holds what must be true of any two states that follow each other.
func (w *world) checkStep(t *rapid.T, before, after State) {
	e := after.Effective
	for _, r := range w.made {
		for _, dead := range r.Tombstones {
			for _, m := range e.Members {
				if m.Identity == dead.Identity || (dead.NodeID != "" && m.NodeID == dead.NodeID) {
					t.Fatalf("%s, removed in generation %d, is in effect again", m.Name, r.Generation)
				}
			}
		}
	}
	for _, m := range e.Members {
		if m.Role == RoleValidator && m.Endpoint != "" {
			t.Fatalf("validator %s has an endpoint", m.Name)
		}
	}
	if after.Fork && e.Signer.Holder != "" {
		t.Fatal("somebody is assigned in a fork")
	}
	if !after.Fork {
		for _, r := range w.made {
			if r.Generation >= after.Head.Generation && r.Hash() != after.Heads[0] {
				t.Fatalf("the head is of generation %d, and there is another of %d", after.Head.Generation, r.Generation)
			}
		}
	}
	if before.Effective == nil {
		return
	}
	a, held := before.Effective.Holder()
	b, holds := e.Holder()
	if held && holds && (a.Identity != b.Identity || before.Effective.Signer != e.Signer) {
		t.Fatalf("the signer moved from %s to %s at once", a.Name, b.Name)
	}
	if e.Signer.Epoch < before.Effective.Signer.Epoch {
		t.Fatalf("epoch %d follows %d", e.Signer.Epoch, before.Effective.Signer.Epoch)
	}
}

// step offers a random generation. It may follow any earlier one, several, or
// none, be changed in any way, and be signed by anyone.
func (w *world) step(t *rapid.T, i int) {
	pick := rapid.SampledFrom(w.made)
	var r *Roster
	if s := w.log.State(); s.Fork && rapid.IntRange(0, 2).Draw(t, "heal") > 0 {
		var heads []*Roster
		for _, m := range w.made {
			if slices.Contains(s.Heads, m.Hash()) {
				heads = append(heads, m)
			}
		}
		r = Heal(heads[:2]...)
	} else if rapid.IntRange(0, 3).Draw(t, "old") > 0 {
		r = Next(w.made[len(w.made)-1])
	} else {
		r = Next(pick.Draw(t, "parent"))
	}
	for range rapid.IntRange(0, 2).Draw(t, "changes") {
		w.change(t, r, i)
	}
	by := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"alice", "alice", "alice", "bob", "carol", "host s1"}), 1, 2, rapid.ID).Draw(t, "by")
	w.offer(t, seal(r, by...))
}

// fork offers two generations that follow the same one.
func (w *world) fork(t *rapid.T, head *Roster) {
	for _, restarts := range []bool{false, true} {
		r := Next(head)
		for i := range r.Members {
			if restarts {
				r.Members[i].Restart = r.Generation
			}
		}
		w.offer(t, seal(r, "alice"))
	}
}

// change changes r in one way, allowed or not.
func (w *world) change(t *rapid.T, r *Roster, i int) {
	names := []string{"v1", "v2", "s1", "s2"}
	name := rapid.SampledFrom(names).Draw(t, "name")
	role := map[byte]Role{'v': RoleValidator, 's': RoleSentry}[name[0]]
	switch rapid.SampledFrom([]string{"admit", "admit", "readmit", "remove", "bury", "assign", "assign", "retire", "key", "admins", "restart", "copy", "deny"}).Draw(t, "change") {
	case "admit": // a fresh machine, perhaps under an old name
		r.Remove(name)
		m := member(fmt.Sprint(name, "-", i), role, r.Generation)
		m.Name = name
		r.Members = append(r.Members, m)
	case "readmit": // a machine of any generation
		old := rapid.SampledFrom(w.made).Draw(t, "from")
		if m, ok := old.Member(name); ok {
			m.Since = r.Generation
			r.Members = append(r.Members, m)
		}
	case "remove":
		r.Remove(name)
	case "bury": // quietly
		r.Members = slices.DeleteFunc(r.Members, func(m Member) bool { return m.Name == name })
	case "assign":
		r.Signer.Holder = name
		r.Signer.Epoch += rapid.SampledFrom([]uint64{1, 1, 1, 0, 2}).Draw(t, "epoch")
		if r.Signer.PubKey.IsZero() {
			r.Signer.PubKey = pub("consensus")
		}
	case "retire":
		r.Signer.Holder = ""
	case "key":
		r.Signer.PubKey = pub(fmt.Sprint("consensus", i))
	case "admins":
		r.Admins = rapid.SliceOfNDistinct(rapid.SampledFrom([]Admin{
			{"alice", pub("alice"), AllCapabilities()},
			{"bob", pub("bob"), []Capability{CapRoster}},
			{"carol", pub("carol"), []Capability{CapAssign, CapRoster}},
		}), 1, 3, func(a Admin) string { return a.Name }).Draw(t, "admins")
	case "restart":
		for j := range r.Members {
			r.Members[j].Restart = r.Generation
		}
	case "copy": // somebody else's lists
		r.Tombstones = slices.Clone(rapid.SampledFrom(w.made).Draw(t, "from").Tombstones)
	case "deny":
		r.Tombstones = nil
	}
}

// No sequence of generations, offered by anybody, breaks what checkStep holds.
func TestNothingResurrects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for i := range rapid.IntRange(3, 25).Draw(t, "steps") {
			w.step(t, i)
		}
	})
}

// However a set of generations is delivered, the state is the same.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for i := range rapid.IntRange(3, 25).Draw(t, "steps") {
			w.step(t, i)
		}
		envs := w.log.Envelopes()
		twice := append(slices.Clone(envs), envs...)
		l := NewLog(w.log.Root())
		for _, e := range rapid.Permutation(twice).Draw(t, "order") {
			deliver(t, w, l, e)
		}
		// What did not fit for a moment, a sender sends at the end.
		if _, err := l.AddAll(w.log.Missing(l.State().Heads...)); err != nil {
			t.Fatal(err)
		}
		if a, b := w.log.State(), l.State(); !reflect.DeepEqual(a, b) {
			t.Fatalf("the state depends on the order: %s", cmp.Diff(a, b))
		}
		if !reflect.DeepEqual(envs, l.Envelopes()) {
			t.Fatal("the log depends on the order")
		}
	})
}

// deliver does what a sender does: what is missing goes first.
func deliver(t *rapid.T, w *world, l *Log, e Envelope) {
	_, err := l.Add(e)
	var missing *MissingParents
	if errors.As(err, &missing) {
		for _, h := range missing.Hashes {
			deliver(t, w, l, w.all[h])
		}
		_, err = l.Add(e)
	}
	if err != nil && !errors.Is(err, ErrTooManyForks) && !errors.As(err, &missing) {
		t.Fatal(err)
	}
}

// Any fork that the admins in common can heal is healed by naming its heads.
func TestHealAny(t *testing.T) {
	healed := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for i := range rapid.IntRange(3, 20).Draw(t, "steps") {
			w.step(t, i)
		}
		if s := w.log.State(); !s.Fork {
			w.fork(t, s.Head)
		}
		s := w.log.State()
		if !s.Fork {
			return // alice may not do that any more
		}
		var heads []*Roster
		for _, m := range w.made {
			if slices.Contains(s.Heads, m.Hash()) {
				heads = append(heads, m)
			}
		}
		for _, h := range heads {
			if !slices.Equal(h.Admins[0].Capabilities, AllCapabilities()) || h.Admins[0].Key != pub("alice") {
				return // no one admin may do all in all heads
			}
		}
		heal, err := Sign(Heal(heads...), []ed25519.PrivateKey{key("alice")}...)
		if err != nil {
			t.Fatal(err)
		}
		w.offer(t, heal)
		after := w.log.State()
		if after.Fork || after.Heads[0] != heal.Hash() {
			_, err := w.log.Add(heal)
			t.Fatalf("not healed: %v", err)
		}
		healed++
	})
	t.Log("healed", healed, "forks")
	if healed == 0 {
		t.Error("no fork was ever healed: the test tests nothing")
	}
}
