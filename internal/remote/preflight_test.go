package remote

import (
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/takeover"
)

const saidByServer = `now=1700000000
system=Linux x86_64
id=debian
version=12
pretty=Debian GNU/Linux 12 (bookworm)
systemd=252
memory_kb=8000000
cpus=4
disk_kb=80000000
nft=1
apt=1
owner={"enrollment":{"deployment":"mine","name":"s1"}}
listen=tcp 0.0.0.0:22 users:(("sshd",pid=1,fd=3))
listen=tcp [::]:80 users:(("nginx",pid=1,fd=3),("nginx",pid=2,fd=3))
listen=tcp 127.0.0.1:26656 users:(("x",pid=1,fd=3))
listen=udp 10.0.0.1%eth0:68
listen=nonsense
`

func TestParseFacts(t *testing.T) {
	f, now := parseFacts(saidByServer)
	want := []socket{{"tcp", 22, "sshd"}, {"tcp", 80, "nginx"}, {"udp", 68, ""}}
	if now.Unix() != 1700000000 || f.system != "Linux x86_64" || f.systemd != 252 || f.memory>>30 != 7 || f.owner != "mine" || f.ours || len(f.listens) != len(want) {
		t.Fatalf("%+v", f)
	}
	for i, s := range want {
		if f.listens[i] != s {
			t.Errorf("socket %d is %+v, want %+v", i, f.listens[i], s)
		}
	}
	if f, now := parseFacts("\nmemory_kb=lots\nnow=\n=\nlisten=\n"); f.memory != 0 || !now.IsZero() {
		t.Errorf("nonsense is understood as %+v", f)
	}
}

func judge(t *testing.T, change func(*facts)) (string, []health.Finding) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, _ := parseFacts(saidByServer)
	f.system = "Linux " + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	change(&f)
	h := deployment.Host{Name: "s1", Role: roster.RoleSentry, Listen: api.Listen{P2P: "[::]:26656", Mesh: "[::]:51820"}}
	why := errors.Join((&Provider{Exe: exe, Deployment: "mine"}).refuse(f, h)...)
	if why == nil {
		return "", f.weak(h)
	}
	return why.Error(), f.weak(h)
}

func TestRefuse(t *testing.T) {
	for want, change := range map[string]func(*facts){
		"it runs Ubuntu 20.04 LTS, and only":                         func(f *facts) { f.id, f.version, f.pretty = "ubuntu", "20.04", "Ubuntu 20.04 LTS" },
		"it runs something that does not say what it is":             func(f *facts) { f.id, f.pretty = "", "" },
		"systemd does not run there":                                 func(f *facts) { f.systemd = 0 },
		"it has 256 MiB of memory":                                   func(f *facts) { f.memory = 256 << 20 },
		"its disk has 10 MiB free":                                   func(f *facts) { f.disk = 10 << 20 },
		`it is a host of the deployment "theirs" already`:            func(f *facts) { f.owner = "theirs" },
		"port 26656/tcp is taken by gaiad":                           func(f *facts) { f.listens = append(f.listens, socket{"tcp", 26656, "gaiad"}) },
		"port 51820/udp is taken by another program":                 func(f *facts) { f.listens = append(f.listens, socket{"udp", 51820, ""}) },
		"a chain's daemon or signer runs there already (/bin/gaiad)": func(f *facts) { f.daemons = []string{"/bin/gaiad"} },
		"install nftables":                                           func(f *facts) { f.nft, f.apt = false, false },
		"only x86_64 and aarch64 are supported":                      func(f *facts) { f.system = "Linux riscv64" },
	} {
		if got, _ := judge(t, change); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for name, change := range map[string]func(*facts){
		"a good one":      func(*facts) {},
		"ours, and runs":  func(f *facts) { f.ours, f.listens = true, []socket{{"tcp", 26656, "simd"}, {"udp", 51820, ""}} },
		"ours, and full":  func(f *facts) { f.ours, f.disk = true, 0 },
		"one without nft": func(f *facts) { f.nft = false },
		"ubuntu":          func(f *facts) { f.id, f.version = "ubuntu", "24.04" },
	} {
		if got, _ := judge(t, change); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	// All that is wrong is said at once.
	got, _ := judge(t, func(f *facts) { f.memory, f.owner = 1<<20, "theirs" })
	if !strings.Contains(got, "memory") || !strings.Contains(got, "theirs") {
		t.Errorf("only %q", got)
	}
}

// TestRefuseTaken: a server on which a validator was taken over is that validator's host and nobody else's.
func TestRefuseTaken(t *testing.T) {
	said := func(phase takeover.Phase, deployment, host string) string {
		b, err := json.Marshal(map[string]any{"phase": phase, "order": takeover.Order{Deployment: deployment, Host: host, Unit: "cosmos.service"}})
		if err != nil {
			t.Fatal(err)
		}
		return "taken=" + string(b) + "\n"
	}
	for name, tt := range map[string]struct {
		said string
		role roster.Role
		ok   bool
	}{
		"its own":           {said(takeover.Done, "mine", "v"), roster.RoleValidator, true},
		"half":              {said(takeover.Moving, "mine", "v"), roster.RoleValidator, false},
		"another name":      {said(takeover.Done, "mine", "w"), roster.RoleValidator, false},
		"another's":         {said(takeover.Done, "theirs", "v"), roster.RoleValidator, false},
		"a sentry":          {said(takeover.Done, "mine", "v"), roster.RoleSentry, false},
		"not to understand": {"taken={{{\n", roster.RoleValidator, false},
		"none":              {"", roster.RoleSentry, true},
	} {
		f, _ := parseFacts(strings.ReplaceAll(saidByServer, "listen=udp", "x=") + tt.said)
		why := errors.Join((&Provider{Deployment: "mine"}).refuse(f, deployment.Host{Name: "v", Role: tt.role})...)
		if refused := why != nil && strings.Contains(why.Error(), "taken over"); refused == tt.ok {
			t.Errorf("%s: %v", name, why)
		}
	}
}

func TestWeak(t *testing.T) {
	for code, change := range map[string]func(*facts){
		"clock-off":     func(f *facts) { f.ahead, f.unsure = -365*24*time.Hour, 2*time.Second },
		"small-memory":  func(f *facts) { f.memory = 1 << 30 },
		"small-disk":    func(f *facts) { f.disk = 1 << 30 },
		"one-processor": func(f *facts) { f.cpus = 1 },
		"port-closes":   func(*facts) {},
	} {
		_, found := judge(t, change)
		has := false
		for _, f := range found {
			has = has || f.Code == code && f.Next != "" && f.Subject == "s1"
		}
		if !has {
			t.Errorf("no %s in %+v", code, found)
		}
	}
	if _, found := judge(t, func(f *facts) { f.listens, f.ahead, f.unsure = nil, 6*time.Second, 2*time.Second }); len(found) != 0 {
		t.Errorf("of a good server: %+v", found)
	}
	_, found := judge(t, func(f *facts) { f.ahead = -365 * 24 * time.Hour })
	if !strings.Contains(found[0].Message, "8760h0m0s behind") {
		t.Errorf("%q", found[0].Message)
	}
}
