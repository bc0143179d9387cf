package agent

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/signing"
)

// TestMark: an older sign state that is put back, in place and with everything else right, disarms the key.
func TestMark(t *testing.T) {
	f := Folder(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(f.markFile()), 0o700); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	other := ed25519.NewKeyFromSeed([]byte(strings.Repeat("x", 32))).Public().(ed25519.PublicKey)
	at := func(pub ed25519.PublicKey, height int64) signing.Status {
		t.Helper()
		st, err := f.remember(signing.Status{State: signing.Armed, PublicKey: pub, LastHeight: height})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	for _, step := range []struct {
		pub    ed25519.PublicKey
		height int64
		state  string
	}{
		{key, 3, signing.Armed},        // nothing is marked yet
		{key, 100, signing.Armed},      // marked
		{key, 102, signing.Armed},      // not marked again: too near
		{key, 100, signing.Armed},      // within what the node itself looks back on
		{key, 99, signing.Disarmed},    // rolled back
		{key, 0, signing.Disarmed},     // begun anew
		{key, 106, signing.Armed},      // gone on
		{key, 105, signing.Disarmed},   // 106 was marked
		{other, 1, signing.Armed},      // the mark of one key says nothing of another
		{other, 10, signing.Armed},     // and is replaced by it
		{other, 9, signing.Disarmed},   //
		{other, 500, signing.Armed},    //
		{other, 104, signing.Disarmed}, //
	} {
		if got := at(step.pub, step.height); got.State != step.state {
			t.Fatalf("at height %d the key is %s (%s), want %s", step.height, got.State, got.Reason, step.state)
		}
	}
	if err := os.WriteFile(f.markFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := at(other, 600); got.State != signing.Disarmed {
		t.Errorf("with a damaged mark the key is %s", got.State)
	}
}

// On a chain that stands still the height says nothing: votes of later rounds are not to be forgotten either.
func TestMarkWithinHeight(t *testing.T) {
	f := Folder(t.TempDir())
	must(t, os.MkdirAll(filepath.Dir(f.markFile()), 0o700))
	key := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	// As an older program wrote it: it says nothing within its height.
	must(t, os.WriteFile(f.markFile(), fmt.Appendf(nil, `{"public_key":%q,"height":100}`, base64.StdEncoding.EncodeToString(key)), 0o600))
	for _, step := range []struct {
		at    signing.State
		state string
	}{
		{signing.State{Height: 99, Round: 9, Step: 3}, signing.Disarmed},
		{signing.State{Height: 100, Round: 0, Step: 2}, signing.Armed},
		{signing.State{Height: 100, Round: 0, Step: 3}, signing.Armed}, // the height that is marked is followed
		{signing.State{Height: 100, Round: 0, Step: 2}, signing.Disarmed},
		{signing.State{Height: 102, Round: 0, Step: 3}, signing.Armed},
		{signing.State{Height: 102, Round: 0, Step: 2}, signing.Armed}, // the node looks back on these itself
		{signing.State{Height: 102, Round: 4, Step: 2}, signing.Armed}, // and cannot here: the chain stands
		{signing.State{Height: 102, Round: 4, Step: 1}, signing.Disarmed},
		{signing.State{Height: 102, Round: 3, Step: 3}, signing.Disarmed},
		{signing.State{Height: 102, Round: 5, Step: 1}, signing.Armed},
		{signing.State{Height: 102, Round: 4, Step: 3}, signing.Disarmed},
		{signing.State{Height: 103, Round: 0, Step: 1}, signing.Armed},
	} {
		st := signing.Status{State: signing.Armed, PublicKey: key, LastHeight: step.at.Height, LastRound: step.at.Round, LastStep: step.at.Step}
		got, err := f.remember(st)
		must(t, err)
		if got.State != step.state {
			t.Fatalf("at %+v the key is %s (%s), want %s", step.at, got.State, got.Reason, step.state)
		}
	}
}

// Whoever asks is told what the host goes by.
func TestMarkIsTold(t *testing.T) {
	r := newValidator(t)
	st, err := r.Folder.loadSigning()
	must(t, err)
	must(t, writeJSON(r.Folder.markFile(), mark{PublicKey: st.PublicKey, Round: 1, Step: 2}))
	if got := r.Folder.recordedSigning(); got.State != signing.Disarmed || !strings.Contains(got.Reason, "older state") {
		t.Errorf("%+v", got)
	}
}

// A key that the mark disarmed is armed again as its reason says, and not from a height that this host saw it sign.
func TestArmAfterMark(t *testing.T) {
	r := newValidator(t)
	st, err := r.Folder.loadSigning()
	must(t, err)
	must(t, writeJSON(r.Folder.markFile(), mark{PublicKey: st.PublicKey, Height: 50}))
	if st, err = r.Folder.loadSigning(); err != nil || st.State != signing.Disarmed {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := r.armNow(t.Context(), signing.Proof{From: 50, Until: 100}, st); err == nil || !strings.Contains(err.Error(), "saw the key sign 50") {
		t.Errorf("a watch that began too early: %v", err)
	}
	must(t, r.armNow(t.Context(), signing.Proof{From: 51, Until: 100}, st))
	if st, err = r.Folder.loadSigning(); err != nil || st.State != signing.Armed || st.LastHeight != 100 {
		t.Errorf("%+v, %v", st, err)
	}
}
