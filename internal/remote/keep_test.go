package remote

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/machine"
)

// TestKeepSigning destroys validators of one name, one after the other, and some of them twice, as after a crash.
func TestKeepSigning(t *testing.T) {
	dir := t.TempDir()
	first := machine.Left{Backup: []byte("key one"), SignState: []byte("height 7")}
	later := machine.Left{Backup: []byte("key one"), SignState: []byte("height 9")} // it went on after a first try
	other := machine.Left{Backup: []byte("key two"), SignState: []byte("height 2")}
	for i, left := range []machine.Left{first, first, later, other, later, first} {
		if err := keepSigning(filepath.Join(dir, "validator"), left); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	var kept []string
	found, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, strings.TrimPrefix(path, dir+"/")+": "+string(b))
	}
	want := []string{
		"validator.2/consensus-key.age: key one", "validator.2/consensus_state.json: height 9",
		"validator.3/consensus-key.age: key two", "validator.3/consensus_state.json: height 2",
		"validator/consensus-key.age: key one", "validator/consensus_state.json: height 7",
	}
	slices.Sort(kept)
	if !slices.Equal(kept, want) {
		t.Errorf("kept %q", kept)
	}
}

// TestKeepHalf: what there is is kept, also where the other half is missing.
func TestKeepHalf(t *testing.T) {
	for name, left := range map[string]machine.Left{"consensus-key.age": {Backup: []byte("key")}, "consensus_state.json": {SignState: []byte("height 7")}} {
		dir := t.TempDir()
		if err := keepSigning(dir, left); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || entries[0].Name() != name {
			t.Errorf("%v, %v", entries, err)
		}
	}
}
