package doctor

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := placeOf(deployment.Dir(dir))
	if good.Err != "" || good.WriteErr != "" || !good.Exists || good.Path != dir || good.Free == 0 || good.Size < good.Free || good.System == "" {
		t.Errorf("a folder: %+v", good)
	}
	missing := placeOf(deployment.Dir(filepath.Join(dir, "a", "b")))
	if missing.Err != "" || missing.WriteErr != "" || missing.Exists || missing.Path != dir {
		t.Errorf("a folder that is not there: %+v, want its nearest parent %s", missing, dir)
	}
	if p := placeOf(deployment.Dir(filepath.Join(file, "sub"))); p.Err == "" {
		t.Errorf("a folder in a file: %+v", p)
	}
	if p := placeOf(deployment.Dir(file)); p.Err == "" {
		t.Errorf("a file: %+v", p)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("looking left something behind: %v", entries)
	}
}

// A server is met where its operator reaches it, or where the config says; never at an address of this computer.
func TestMet(t *testing.T) {
	where := Target{PublicOf: func(string) (string, error) { return "203.0.113.9", nil }}
	unknown := Target{PublicOf: func(string) (string, error) { return "", errors.New("no such host") }}
	listen := api.Listen{P2P: "127.0.0.1:26656"}
	for name, c := range map[string]struct {
		target Target
		host   deployment.Host
		want   []string
	}{
		"on this computer":     {where, deployment.Host{Listen: api.Listen{P2P: "127.0.0.1:20001"}}, []string{"127.0.0.1:20001"}},
		"a validator's server": {where, deployment.Host{Provider: "ssh", Address: "v", Role: roster.RoleValidator, Listen: listen}, []string{"203.0.113.9:26656"}},
		"a bought validator's": {unknown, deployment.Host{Provider: "hetzner", Public: "203.0.113.7", Role: roster.RoleValidator, Listen: listen}, []string{"203.0.113.7:26656"}},
		"of a name":            {Target{}, deployment.Host{Provider: "ssh", Public: "localhost", Role: roster.RoleValidator, Listen: listen}, []string{"127.0.0.1:26656"}},
		"a sentry of a name":   {where, deployment.Host{Provider: "ssh", Public: "s.example", Role: roster.RoleSentry, Listen: listen}, []string{"s.example:26656"}},
		"nobody knows where":   {unknown, deployment.Host{Provider: "ssh", Address: "v", Role: roster.RoleValidator, Listen: listen}, nil},
	} {
		got := slices.DeleteFunc(c.target.met(t.Context(), c.host), func(a string) bool { return strings.HasPrefix(a, "[::1]") })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNotWritable(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a folder that nobody can write, as /proc on Linux")
	}
	if _, failed := tryWrite("/proc"); failed == "" {
		t.Error("/proc can be written, it is said")
	}
}

func TestMeasure(t *testing.T) {
	if f := filesOf(); f.Err != "" || f.Limit == 0 {
		t.Errorf("open files: %+v", f)
	}
	if runtime.GOOS != "linux" {
		return // the rest is not measured there
	}
	if m := memoryOf(); m.Err != "" || m.Available == 0 || m.Available > m.Total {
		t.Errorf("memory: %+v", m)
	}
	if u := umaskOf(); u.Err != "" || u.Value > 0o777 {
		t.Errorf("umask: %+v", u)
	}
	if k := kernelClock(); k.Err == "" && k.MaxError < 0 {
		t.Errorf("clock: %+v", k)
	}
}

func TestChainProgram(t *testing.T) {
	dir := t.TempDir()
	script := func(name, body string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	for _, tt := range []struct {
		name, path string
		want       Verdict
		says       string
	}{
		{"script that runs", script("good", "#!/bin/sh\nexit 0\n", 0o755), OK, "runs here"},
		{"script that does not", script("bad", "#!/bin/sh\necho broken >&2; exit 3\n", 0o755), Critical, "broken"},
		{"not executable", script("plain", "#!/bin/sh\n", 0o644), Critical, "not executable"},
		{"no program", script("noise", "\x7fELFnoise", 0o755), Critical, "does not run"},
		{"folder", dir, Critical, "not a file"},
		{"nothing", filepath.Join(dir, "none"), Critical, "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Program{Version: "v1", Platform: platform}
			c := Target{Dir: deployment.Dir(filepath.Join(dir, "state")), Daemon: tt.path}.chainProgram(t.Context(), Facts{Program: p})
			find(t, []Check{chainProgram(c, p)}, CodeChain, Computer, tt.want, tt.says)
		})
	}
	if got, _ := linked(self); got != platform {
		t.Errorf("this test is for %q, it is said, want %q", got, platform)
	}
}

func TestPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	for _, starting := range []bool{false, true} {
		p := portOf("p2p", addr, starting)
		if p.Free {
			t.Errorf("a port that is in use (starting %v): %+v", starting, p)
		}
		if runtime.GOOS == "linux" && p.Holder.PID != os.Getpid() {
			t.Errorf("a port of ours (starting %v): %+v, want process %d", starting, p, os.Getpid())
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, starting := range []bool{false, true} {
		if p := portOf("p2p", addr, starting); !p.Free {
			t.Errorf("a free port (starting %v): %+v", starting, p)
		}
	}
}

func TestBackup(t *testing.T) {
	dir := deployment.Dir(t.TempDir())
	k, err := keyring.New("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Save(dir.Operator(), nil); err != nil {
		t.Fatal(err)
	}
	sealed, pub := sealedKey(t, k, "validator")
	h := Host{Host: deployment.Host{Name: "validator"}, Status: api.HostStatus{Enrolled: &api.Enrolled{Consensus: pub}}}
	if b := backupOf(dir, h, k); b.Present {
		t.Errorf("none: %+v", b)
	}
	if err := dir.KeepBackup("validator", []byte("noise"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if b := backupOf(dir, h, k); !b.Present || b.Opened || b.Err == "" {
		t.Errorf("noise: %+v", b)
	}
	if err := dir.KeepBackup("validator", sealed, time.Now()); err != nil { // beside the first
		t.Fatal(err)
	}
	if b := backupOf(dir, h, k); !b.Opened || b.Err != "" {
		t.Errorf("a good one beside noise: %+v", b)
	}
	if b := backupOf(dir, h, nil); !b.Present || b.Opened || b.Err != "" {
		t.Errorf("with a keyring that is not open: %+v", b)
	}
	h.Status.Enrolled.Consensus = make([]byte, ed25519.PublicKeySize)
	if b := backupOf(dir, h, k); b.Opened || b.Err == "" {
		t.Errorf("of another key: %+v", b)
	}
}

func sealedKey(t *testing.T, k *keyring.Keyring, host string) (sealed, pub []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	type typed struct {
		Type  string `json:"type"`
		Value []byte `json:"value"`
	}
	file, err := json.Marshal(map[string]any{
		"address":  signing.Address(public),
		"pub_key":  typed{"tendermint/PubKeyEd25519", public},
		"priv_key": typed{"tendermint/PrivKeyEd25519", private},
	})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err = keyring.SealBackup(k.Recipient(), keyring.Backup{
		Deployment: "hub", Host: host, PubKey: public, Created: time.Now(), KeyFile: keyring.NewSecret(file),
	})
	if err != nil {
		t.Fatal(err)
	}
	return sealed, public
}
