package signing

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is done in whatever order, with crashes between: the floor of a key never falls, and no height at or below
// what it is known to have signed can be signed again.
func TestProperty(t *testing.T) {
	keys := []testKey{newKey(t), newKey(t)}
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "signing")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		m := &model{keys: keys, f: Folder{Dir: filepath.Join(root, "signing")}, signed: map[string]int64{}}
		t.Repeat(map[string]func(*rapid.T){
			"restore": m.restore, "arm": m.arm, "sign": m.sign, "": m.check,
		})
	})
}

type model struct {
	keys   []testKey
	f      Folder
	signed map[string]int64 // by key: the highest height signed on this host or told of
	tip    int64
}

// crashing is the folder with a crash at some change, or none.
func (m *model) crashing(t *rapid.T) Folder {
	f, n, at := m.f, 0, rapid.IntRange(0, 8).Draw(t, "crash")
	f.before = func() error {
		if n++; n == at {
			return errCrash
		}
		return nil
	}
	return f
}

func (m *model) restore(t *rapid.T) {
	k := rapid.SampledFrom(m.keys).Draw(t, "key")
	mark := rapid.Int64Range(0, 300).Draw(t, "mark")
	if m.crashing(t).Restore(k.file, mark, k.pub) == nil {
		m.signed[string(k.pub)] = max(m.signed[string(k.pub)], mark)
		m.tip = max(m.tip, mark)
	}
}

func (m *model) arm(t *rapid.T) {
	from := rapid.Int64Range(1, 400).Draw(t, "from")
	_ = m.crashing(t).Arm(Proof{From: from, Until: from + SilentBlocks - 1})
	m.tip = max(m.tip, from+SilentBlocks)
}

func (m *model) sign(t *rapid.T) {
	s, err := m.f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.State != Armed {
		return
	}
	state, err := ReadState(m.f.path(StateFile))
	if err != nil {
		t.Fatal(err)
	}
	if height := state.Height + 1; height <= m.signed[string(s.PublicKey)] {
		t.Fatalf("height %d can be signed, %d was signed before", height, m.signed[string(s.PublicKey)])
	}
	m.signed[string(s.PublicKey)] = state.Height + 1
	if err := os.WriteFile(m.f.path(StateFile), State{Height: state.Height + 1, Step: 3}.encode(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (m *model) check(t *rapid.T) {
	s, err := m.f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.State == Armed && s.LastHeight < m.signed[string(s.PublicKey)] {
		t.Fatalf("armed with its state at %d; it signed %d", s.LastHeight, m.signed[string(s.PublicKey)])
	}
}
