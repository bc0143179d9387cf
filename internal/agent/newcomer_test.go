package agent

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

func newNewcomer(t *testing.T) (*Newcomer, api.EnrollRequest) {
	t.Helper()
	n, err := Folder(filepath.Join(t.TempDir(), "host")).Newcomer()
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	r, _ := request(t, roster.RoleSentry)
	r.Name, r.Moniker, r.MeshDriver, r.Listen.Mesh = "s3", "s3", roster.MeshWireGuard, "127.0.0.1:3"
	return n, r
}

// A host that is killed at any time enrols again with the same keys, whatever else it says.
func TestNewcomerEnrolsAgain(t *testing.T) {
	n, r := newNewcomer(t)
	before, err := os.Stat(r.Binary)
	must(t, err)
	first, err := n.Enroll(t.Context(), r)
	must(t, err)
	r.Listen = api.Listen{P2P: "127.0.0.1:11", RPC: "127.0.0.1:12", Mesh: "127.0.0.1:13", Relay: "127.0.0.1:14"}
	again, err := n.Enroll(t.Context(), r)
	must(t, err)
	if !again.Identity.Equal(first.Identity) || again.Tunnel != first.Tunnel || !again.TLS.Equal(first.TLS) || again.NodeID != first.NodeID {
		t.Error("the second time it has other keys")
	}
	h, err := n.folder.loadHost()
	must(t, err)
	public, err := tunnel.Key(again.Tunnel).Public()
	must(t, err)
	if h.Enrollment.Listen != r.Listen || !bytes.Equal(h.Enrolled.Identity, again.Identity.Public().(ed25519.PublicKey)) ||
		!bytes.Equal(h.Enrolled.MeshKey, public[:]) || !bytes.Equal(h.Enrolled.MeshTLS, again.TLS.Public().(ed25519.PublicKey)) {
		t.Errorf("its record is %+v", h)
	}
	own, err := os.Stat(filepath.Join(n.folder.Home(), "cosmovisor", "current", "bin", r.Daemon))
	must(t, err)
	after, err := os.Stat(r.Binary)
	must(t, err)
	if os.SameFile(own, after) || after.Mode() != before.Mode() {
		t.Error("the user's daemon was linked or changed")
	}
}

func TestNewcomerRefuses(t *testing.T) {
	n, r := newNewcomer(t)
	_, err := n.folder.Newcomer()
	var held *process.Held
	if !errors.As(err, &held) || held.Holder.Name != NewcomerLock {
		t.Errorf("a second one: %v", err)
	}
	other := r
	other.BinaryHash = strings.Repeat("0", 64)
	if _, err := n.Enroll(t.Context(), other); err == nil || !strings.Contains(err.Error(), "not the deployment's") {
		t.Errorf("another daemon: %v", err)
	}
	if _, err := os.Stat(n.folder.record()); !os.IsNotExist(err) {
		t.Errorf("after that: %v", err)
	}
	_, err = n.Enroll(t.Context(), r)
	must(t, err)
	r.Name = "s4"
	if _, err := n.Enroll(t.Context(), r); err == nil || !strings.Contains(err.Error(), "take another") {
		t.Errorf("another name: %v", err)
	}
}

// What is stored decides: whether the host is a member, and which genesis it takes.
func TestNewcomerStores(t *testing.T) {
	n, r := newNewcomer(t)
	keys, err := n.Enroll(t.Context(), r)
	must(t, err)
	if _, member, err := n.Membership(); member || err != nil {
		t.Errorf("before: %v, %v", member, err)
	}
	genesis := filepath.Join(t.TempDir(), "genesis.json")
	must(t, os.WriteFile(genesis, []byte("the chain's"), 0o600))
	if n.InstallGenesis(genesis) == nil {
		t.Error("a genesis was taken that no roster names")
	}
	pub, admin, err := ed25519.GenerateKey(nil)
	must(t, err)
	first := roster.New("hub", []roster.Admin{{Name: "op", Key: roster.KeyOf(pub), Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "hub-1", GenesisSHA256: sha256.Sum256([]byte("the chain's"))})
	first.Members = []roster.Member{{Name: "s3", Role: roster.RoleSentry, Identity: roster.KeyOf(keys.Identity.Public().(ed25519.PublicKey)), NodeID: keys.NodeID, Since: 1}}
	signed := func(r *roster.Roster) []roster.Envelope {
		e, err := roster.Sign(r, admin)
		must(t, err)
		return []roster.Envelope{e}
	}
	must(t, n.Store(signed(first)))
	if m, member, err := n.Membership(); !member || m.Name != "s3" || err != nil {
		t.Errorf("after: %+v, %v, %v", m, member, err)
	}
	for name, content := range map[string]string{"another": "another's", "none": ""} {
		path := filepath.Join(t.TempDir(), "genesis.json")
		if content != "" {
			must(t, os.WriteFile(path, []byte(content), 0o600))
		} else {
			path = ""
		}
		if n.InstallGenesis(path) == nil {
			t.Errorf("%s was taken", name)
		}
	}
	must(t, n.InstallGenesis(genesis))
	must(t, n.InstallGenesis("")) // it is there
	if b, err := os.ReadFile(n.folder.genesis()); err != nil || string(b) != "the chain's" {
		t.Errorf("genesis %q, %v", b, err)
	}
	gone := roster.Next(first)
	gone.Remove("s3")
	must(t, n.Store(signed(gone)))
	if _, _, err := n.Membership(); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("removed: %v", err)
	}
}

// Who leaves stays down until somebody says otherwise, with the keys that it has.
func TestNewcomerLeaves(t *testing.T) {
	n, r := newNewcomer(t)
	r.BackupTo = ""
	keys, err := n.Enroll(t.Context(), r)
	must(t, err)
	if e, enrolled, err := n.folder.Enrollment(); err != nil || !enrolled || !EnrolledItself(e) {
		t.Errorf("it enrolled itself: %+v, %v, %v", e, enrolled, err)
	}
	must(t, n.Return("me")) // there is nothing to take back
	for range 2 {
		must(t, n.Leave(t.Context(), "me"))
		if i := n.folder.loadIntent(); !i.Stopped || i.By != "me" {
			t.Errorf("left: %+v", i)
		}
	}
	must(t, n.Return("you"))
	if i := n.folder.loadIntent(); i.Stopped || i.By != "you" {
		t.Errorf("back: %+v", i)
	}
	if again, err := n.folder.loadIdentity(); err != nil || !again.Equal(keys.Identity) {
		t.Errorf("its key is another one: %v", err)
	}
	r.BackupTo = "age1"
	if EnrolledItself(r) {
		t.Error("one whose key is backed up enrolled itself")
	}
}
