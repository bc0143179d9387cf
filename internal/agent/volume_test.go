package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// A server that takes another's place finds the chain's data on its volume, and nothing of who the other one was: not a
// key, not a sign state. Interrupted, it does all of it again.
func TestVolumeOfAnotherServer(t *testing.T) {
	req, _ := request(t, roster.RoleValidator)
	former := newKeeper(t).Folder
	was, err := former.enroll(t.Context(), req)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(former.Home(), "data", "blocks"), []byte("many"), 0o600))
	must(t, os.WriteFile(filepath.Join(former.Home(), "config", "priv_validator_key.json"), []byte("whatever lay there"), 0o600))

	f := newKeeper(t).Folder
	must(t, os.MkdirAll(string(f), 0o700))
	must(t, os.Remove(filepath.Join(former.Home(), "cosmovisor", "current"))) // a link, which CopyFS refuses
	must(t, os.CopyFS(f.Home(), os.DirFS(former.Home())))
	binary, err := f.installBinary(req)
	must(t, err)
	must(t, f.takeOver(t.Context(), binary, req))
	must(t, os.Remove(f.made())) // interrupted before the last word
	must(t, f.takeOver(t.Context(), binary, req))

	now, err := f.enroll(t.Context(), req)
	must(t, err)
	if now.Enrolled.NodeID == was.Enrolled.NodeID || string(now.Enrolled.Consensus) == string(was.Enrolled.Consensus) {
		t.Error("it has a key of the former server")
	}
	if b, err := os.ReadFile(filepath.Join(f.Home(), "data", "blocks")); err != nil || string(b) != "many" {
		t.Errorf("the chain's data: %q, %v", b, err)
	}
	if st, err := f.Signing().Load(); err != nil || st.State != signing.Armed || string(st.PublicKey) != string(now.Enrolled.Consensus) {
		t.Errorf("%+v, %v", st, err)
	}
	for _, left := range []string{"home.new", "config/priv_validator_key.json", "config/genesis.json"} {
		if _, err := os.Lstat(filepath.Join(f.Home(), left)); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}
