package rosterdir

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/roster"
)

// chain is a deployment with a history of its own.
type chain struct {
	admin ed25519.PrivateKey
	heads []*roster.Roster
	envs  []roster.Envelope
}

func newChain(t *testing.T, n int) *chain {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	must(t, err)
	c := &chain{admin: priv}
	c.add(t, roster.New("hub", []roster.Admin{{Name: "op", Key: roster.KeyOf(pub), Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "hub-1"}))
	for range n - 1 {
		c.add(t, roster.Next(c.heads[len(c.heads)-1]))
	}
	return c
}

func (c *chain) add(t *testing.T, r *roster.Roster) {
	t.Helper()
	e, err := roster.Sign(r, c.admin)
	must(t, err)
	c.heads, c.envs = append(c.heads, r), append(c.envs, e)
}

// other is a generation that conflicts with the one after index i.
func (c *chain) other(t *testing.T, i int) roster.Envelope {
	t.Helper()
	r := roster.Next(c.heads[i])
	r.Chain.Denom = "other"
	e, err := roster.Sign(r, c.admin)
	must(t, err)
	return e
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	must(t, err)
	return s
}

func TestKeeps(t *testing.T) {
	dir, c := filepath.Join(t.TempDir(), "rosters"), newChain(t, 3)
	s := open(t, dir)
	if !s.ID().IsZero() || s.State().Effective != nil || s.Envelopes() != nil || s.Missing() != nil {
		t.Error("an empty folder knows something")
	}
	must(t, s.Publish(c.envs[:2]))
	must(t, s.Publish(c.envs)) // what is known already is no conflict
	for _, s := range []*Store{s, open(t, dir)} {
		if st := s.State(); st.Head == nil || st.Head.Generation != 3 || s.ID() != c.heads[0].Hash() || len(s.Envelopes()) != 3 {
			t.Errorf("%+v", st)
		}
		if m := s.Missing(c.heads[1].Hash()); len(m) != 1 || m[0].Hash() != c.heads[2].Hash() {
			t.Errorf("missing %v", m)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestConflict(t *testing.T) {
	dir, c := t.TempDir(), newChain(t, 2)
	s := open(t, dir)
	must(t, s.Publish(c.envs))
	other := c.other(t, 0)
	var conflict *roster.Conflict
	if err := s.Publish([]roster.Envelope{other}); !errors.As(err, &conflict) {
		t.Fatalf("err %v", err)
	}
	// All or none: what is good before it in the same request is not kept either.
	next := roster.Next(c.heads[1])
	e, err := roster.Sign(next, c.admin)
	must(t, err)
	if err := s.Publish([]roster.Envelope{e, other}); !errors.As(err, &conflict) {
		t.Fatalf("err %v", err)
	}
	if g := open(t, dir).State().Head.Generation; g != 2 || s.State().Head.Generation != 2 {
		t.Errorf("generation %d", g)
	}
	// As evidence it is taken, survives, and heals.
	must(t, s.Learn([]roster.Envelope{other}))
	if !s.State().Fork || !open(t, dir).State().Fork {
		t.Error("no fork")
	}
	o, err := roster.Parse(other.Payload)
	must(t, err)
	healed, err := roster.Sign(roster.Heal(c.heads[1], o), c.admin)
	must(t, err)
	must(t, s.Publish([]roster.Envelope{healed}))
	if st := open(t, dir).State(); st.Fork || st.Head.Generation != 3 {
		t.Errorf("after healing: %+v", st)
	}
}

// A folder is pinned to the first deployment it was told of.
func TestPin(t *testing.T) {
	dir, c, foreign := t.TempDir(), newChain(t, 2), newChain(t, 2)
	s := open(t, dir)
	if err := s.Publish(c.envs[1:]); err == nil {
		t.Error("pinned without generation 1")
	}
	forged := c.envs[0]
	forged.Signatures = foreign.envs[0].Signatures
	for _, take := range []func([]roster.Envelope) error{s.Publish, s.Learn} {
		if err := take([]roster.Envelope{forged}); err == nil || !s.ID().IsZero() {
			t.Errorf("pinned by a forged generation 1: %v", err)
		}
	}
	must(t, s.Publish(c.envs))
	for _, take := range []func([]roster.Envelope) error{s.Publish, s.Learn} {
		if err := take(foreign.envs); !errors.Is(err, roster.ErrForeign) {
			t.Errorf("another deployment: %v", err)
		}
	}
	if s := open(t, dir); s.ID() != c.heads[0].Hash() || len(s.Envelopes()) != 2 {
		t.Errorf("%d envelopes of %s", len(s.Envelopes()), s.ID())
	}
}

func TestLearnTakesWhatIsGood(t *testing.T) {
	for _, pinned := range []bool{false, true} {
		dir, c := t.TempDir(), newChain(t, 3)
		s := open(t, dir)
		if pinned {
			must(t, s.Publish(c.envs[:1]))
		}
		bad := c.envs[1]
		bad.Payload = append(slices.Clone(bad.Payload), ' ')
		garbage := roster.Envelope{Payload: []byte("{"), Signatures: bad.Signatures}
		if err := s.Learn([]roster.Envelope{garbage, bad, c.envs[2], c.envs[1], c.envs[0]}); err == nil {
			t.Errorf("pinned %v: nothing was wrong", pinned)
		}
		if st := open(t, dir).State(); st.Head == nil || st.Head.Generation != 3 {
			t.Errorf("pinned %v: %+v", pinned, st)
		}
	}
}

// Interrupted between any two files, a folder holds a whole log that a later Publish completes; also by another
// deployment, when it was not pinned yet.
func TestCrash(t *testing.T) {
	c := newChain(t, 3)
	whole := t.TempDir()
	must(t, open(t, whole).Publish(c.envs))
	var order []string // as they are written: parents first, the pin last
	for _, h := range c.heads {
		order = append(order, h.Hash().String()+".json")
	}
	order = append(order, pinFile)
	for n := 0; n <= len(order); n++ {
		for name, then := range map[string]*chain{"the same": c, "another": newChain(t, 2)} {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, ".atomicfile-1.tmp"), []byte("{"), 0o600))
			for _, f := range order[:n] {
				b, err := os.ReadFile(filepath.Join(whole, f))
				must(t, err)
				must(t, os.WriteFile(filepath.Join(dir, f), b, 0o600))
			}
			s := open(t, dir)
			pinned := n == len(order)
			if (s.State().Head != nil) != pinned {
				t.Errorf("%d files: obeys %v", n, s.State().Head)
			}
			err := s.Publish(then.envs)
			if pinned && then != c {
				if !errors.Is(err, roster.ErrForeign) {
					t.Errorf("%d files, then %s: %v", n, name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%d files, then %s: %v", n, name, err)
				continue
			}
			again, err := Open(dir)
			if err != nil || again.ID() != then.heads[0].Hash() || len(again.Envelopes()) != len(then.envs) {
				t.Errorf("%d files, then %s: opened again: %v", n, name, err)
			}
		}
	}
}

// Later generations are durable one by one; the pin is there already.
func TestCrashLater(t *testing.T) {
	c := newChain(t, 4)
	dir := t.TempDir()
	must(t, open(t, dir).Publish(c.envs))
	must(t, os.Remove(filepath.Join(dir, c.heads[3].Hash().String()+".json")))
	s := open(t, dir)
	if g := s.State().Head.Generation; g != 3 {
		t.Errorf("generation %d", g)
	}
	must(t, s.Publish(c.envs))
}

func TestDamageIsAnError(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, string, *chain){
		"a parent is gone": func(t *testing.T, dir string, c *chain) {
			must(t, os.Remove(filepath.Join(dir, c.heads[1].Hash().String()+".json")))
		},
		"generation 1 is gone": func(t *testing.T, dir string, c *chain) {
			must(t, os.Remove(filepath.Join(dir, c.heads[0].Hash().String()+".json")))
		},
		"the newest is cut": func(t *testing.T, dir string, c *chain) {
			must(t, os.Truncate(filepath.Join(dir, c.heads[2].Hash().String()+".json"), 40))
		},
		"the newest is empty": func(t *testing.T, dir string, c *chain) {
			must(t, os.Truncate(filepath.Join(dir, c.heads[2].Hash().String()+".json"), 0))
		},
		"a bit is flipped": func(t *testing.T, dir string, c *chain) {
			path := filepath.Join(dir, c.heads[2].Hash().String()+".json")
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)/2] ^= 1
			must(t, os.WriteFile(path, b, 0o600))
		},
		"the pin is cut": func(t *testing.T, dir string, _ *chain) {
			must(t, os.Truncate(filepath.Join(dir, pinFile), 7))
		},
		"the pin is another's": func(t *testing.T, dir string, _ *chain) {
			must(t, os.WriteFile(filepath.Join(dir, pinFile), []byte(strings.Repeat("a", 64)), 0o600))
		},
		"a folder": func(t *testing.T, dir string, _ *chain) {
			must(t, os.Mkdir(filepath.Join(dir, "x.json"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, c := t.TempDir(), newChain(t, 3)
			must(t, open(t, dir).Publish(c.envs))
			damage(t, dir, c)
			if s, err := Open(dir); err == nil {
				t.Errorf("opened at %+v", s.State())
			}
		})
	}
}

// What cannot be made durable is not obeyed.
func TestNotDurable(t *testing.T) {
	c := newChain(t, 2)
	dir := filepath.Join(t.TempDir(), "rosters")
	s := open(t, dir)
	must(t, s.Publish(c.envs[:1]))
	must(t, os.Mkdir(filepath.Join(dir, c.heads[1].Hash().String()+".json"), 0o700))
	if err := s.Publish(c.envs[1:]); err == nil {
		t.Fatal("published")
	}
	if s.State().Head.Generation != 1 {
		t.Error("obeyed all the same")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
