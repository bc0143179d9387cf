package agent

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// keyText is a new consensus key as CometBFT writes it.
func keyText(t *testing.T) []byte {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	return fmt.Appendf(nil, `{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`,
		signing.Address(pub), base64.StdEncoding.EncodeToString(pub), base64.StdEncoding.EncodeToString(key))
}

// TestKept: a host whose key is nowhere else is not given up.
func TestKept(t *testing.T) {
	f := Folder(t.TempDir())
	must(t, os.MkdirAll(f.path("agent"), 0o700))
	if state, backup, err := f.Kept(); err != nil || state != nil || backup != nil {
		t.Errorf("of nothing: %q, %q, %v", state, backup, err)
	}
	must(t, f.Signing().Restore(keyText(t), 70, nil))
	if _, _, err := f.Kept(); err == nil || !strings.Contains(err.Error(), "no sealed backup") {
		t.Errorf("of a key that came from elsewhere: %v", err)
	}
	must(t, os.WriteFile(f.backup(), []byte("sealed"), 0o600))
	state, backup, err := f.Kept()
	if err != nil || string(backup) != "sealed" || !strings.Contains(string(state), `"70"`) {
		t.Errorf("it is not kept: %q, %q, %v", state, backup, err)
	}
}

// TestKeptEnrolled: what an enrolled host has told the operator is kept even if its file is gone; a key that was being born,
// and never signed, is nobody's.
func TestKeptEnrolled(t *testing.T) {
	f := newKeeper(t).Folder
	req, _ := request(t, roster.RoleValidator)
	h, err := f.enroll(t.Context(), req)
	must(t, err)
	must(t, os.Remove(f.backup()))
	if _, backup, err := f.Kept(); err != nil || string(backup) != string(h.Enrolled.Backup) {
		t.Errorf("%q, %v", backup, err)
	}
	must(t, os.Remove(f.record()))
	if _, _, err := f.Kept(); err != nil {
		t.Errorf("half born: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(f.Signing().Dir, signing.StateFile), []byte(`{"height":"5","round":0,"step":1}`), 0o600))
	if _, _, err := f.Kept(); err == nil {
		t.Error("one that has signed is given up")
	}
}

// TestEnrollNoSentryWithAKey: a host on which a consensus key is is not opened to the world.
func TestEnrollNoSentryWithAKey(t *testing.T) {
	f := newKeeper(t).Folder
	must(t, f.Signing().Restore(keyText(t), 70, nil))
	req, _ := request(t, roster.RoleSentry)
	if _, err := f.enroll(t.Context(), req); err == nil || !strings.Contains(err.Error(), "cannot be a sentry") {
		t.Errorf("%v", err)
	}
}

// TestKeyPutBack: a node that may not sign is not started on a home to which somebody has put the consensus key back.
func TestKeyPutBack(t *testing.T) {
	f := newKeeper(t).Folder
	key, path := keyText(t), filepath.Join(f.Home(), "config", "priv_validator_key.json")
	must(t, f.throwsAway())
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, keyText(t), 0o600))
	must(t, f.throwsAway())
	must(t, f.Signing().Restore(key, 70, nil))
	must(t, f.throwsAway())
	must(t, os.WriteFile(path, key, 0o600))
	if err := f.throwsAway(); err == nil || !strings.Contains(err.Error(), "remove that file") {
		t.Errorf("%v", err)
	}
}
