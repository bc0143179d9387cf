package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pressenter/pressenter/internal/atomicfile"
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

// A daemon that was taken over may leave another program on its volume. None of it runs on the next server, also where
// there is no home beside it, or where the enrolment is interrupted.
func TestVolumeBringsProgram(t *testing.T) {
	for name, data := range map[string]bool{"with a home": true, "without a home": false} {
		t.Run(name, func(t *testing.T) {
			req, _ := request(t, roster.RoleValidator)
			f := newKeeper(t).Folder
			programs := filepath.Join(f.Home(), "cosmovisor")
			plant := func() {
				t.Helper()
				must(t, os.RemoveAll(programs))
				must(t, os.MkdirAll(filepath.Join(programs, "upgrades", "v2", "bin"), 0o700))
				must(t, os.WriteFile(filepath.Join(programs, "upgrades", "v2", "bin", req.Daemon), []byte("#!/bin/sh\n"), 0o700))
				must(t, os.Symlink("upgrades/v2", filepath.Join(programs, "current")))
			}
			plant()
			if data {
				must(t, os.MkdirAll(filepath.Join(f.Home(), "data"), 0o700))
				must(t, os.MkdirAll(filepath.Join(f.Home(), "config"), 0o700))
			}
			must(t, f.dropPrograms())
			if _, err := os.Lstat(programs); !os.IsNotExist(err) {
				t.Fatalf("what the volume brought is there: %v", err)
			}
			plant() // what is interrupted before the home is ours begins anew
			must(t, f.dropPrograms())
			binary, err := f.installBinary(req)
			must(t, err)
			if data {
				must(t, f.takeOver(t.Context(), binary, req))
			}
			_, err = f.enroll(t.Context(), req)
			must(t, err)
			runs := filepath.Join(programs, "current", "bin", req.Daemon)
			if sum, err := atomicfile.SHA256(runs); err != nil || sum != req.BinaryHash {
				t.Errorf("what runs is %s, %v", sum, err)
			}
			must(t, f.dropPrograms())
			if _, err := os.Stat(runs); err != nil {
				t.Errorf("the host's own program was removed: %v", err)
			}
		})
	}
}

// Whatever lies in the place of the link, a host that is new runs what it is enrolled with; an enrolled one what a person
// put there.
func TestCurrentProgram(t *testing.T) {
	req, _ := request(t, roster.RoleValidator)
	f := newKeeper(t).Folder
	current := filepath.Join(f.Home(), "cosmovisor", "current")
	target := func() string {
		_, err := f.installBinary(req)
		must(t, err)
		at, err := os.Readlink(current)
		must(t, err)
		return at
	}
	must(t, os.MkdirAll(filepath.Join(current, "bin"), 0o700))
	if at := target(); at != "genesis" {
		t.Errorf("a folder: %s", at)
	}
	must(t, os.Remove(current))
	must(t, os.Symlink("upgrades/v2", current))
	if at := target(); at != "genesis" {
		t.Errorf("a link: %s", at)
	}
	_, err := f.enroll(t.Context(), req)
	must(t, err)
	must(t, os.Remove(current))
	must(t, os.Symlink("upgrades/v2", current))
	if at := target(); at != "upgrades/v2" {
		t.Errorf("enrolled: %s", at)
	}
}
