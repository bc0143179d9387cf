package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/lab"
)

// datacentre makes hosts of a lab of what a fake cloud sells. It answers the hook of fakecloud/README.md.
type datacentre struct {
	lab *lab.Lab

	mu   sync.Mutex
	next netip.Addr // of those that clouds give to servers: the upper half of the lab's network
	sold map[string]*lab.Host
	data map[string][]byte // the user data of whatever was sold
}

// openDatacentre returns the socket on which it answers.
func openDatacentre(t *testing.T, l *lab.Lab) (*datacentre, string) {
	t.Helper()
	at := l.Network.Addr().As4()
	at[3] = 128
	d := &datacentre{lab: l, next: netip.AddrFrom4(at), sold: map[string]*lab.Host{}, data: map[string][]byte{}}
	socket := filepath.Join(t.TempDir(), "hosts.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /servers", d.sell)
	mux.HandleFunc("DELETE /servers/{cloud}/{name}", d.takeBack)
	mux.HandleFunc("POST /addresses", d.reserve)
	mux.HandleFunc("PUT /addresses/{cloud}/{address}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("DELETE /addresses/{cloud}/{address}", func(http.ResponseWriter, *http.Request) {})
	server := &http.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("datacentre: %v", err)
		}
	})
	return d, socket
}

var publicKey = regexp.MustCompile(`ssh-ed25519 [A-Za-z0-9+/=]+`)

// sell boots a server as an image with cloud-init would come up.
func (d *datacentre) sell(w http.ResponseWriter, r *http.Request) {
	var s struct {
		Cloud     string   `json:"cloud"`
		Name      string   `json:"name"`
		UserData  string   `json:"user_data"`
		Addresses []string `json:"addresses"`
	}
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h, err := d.lab.Add(context.WithoutCancel(r.Context()), s.Name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	d.mu.Lock()
	d.sold[s.Cloud+"/"+s.Name] = h
	d.data["user data of "+s.Name] = []byte(s.UserData)
	d.mu.Unlock()
	script := `useradd -m -s /bin/bash pressenter
echo 'pressenter ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/90-cloud-init
install -d -m 700 -o pressenter -g pressenter ~pressenter/.ssh
echo "$1" >~pressenter/.ssh/authorized_keys; chown pressenter: ~pressenter/.ssh/authorized_keys; shift
device=$(ip -o -4 addr show scope global | awk 'NR==1 {print $2}')
for a; do ip addr add "$a/24" dev "$device"; done`
	args := []string{"sh", "-ec", script, "cloud-init", publicKey.FindString(s.UserData)}
	answer := map[string]string{"ipv4": h.Address, "ipv6": "", "private_ipv4": ""}
	for _, a := range s.Addresses {
		if strings.Contains(a, ".") {
			args, answer["ipv4"] = append(args, a), a
		}
	}
	if out, err := h.Exec(context.WithoutCancel(r.Context()), args...); err != nil {
		http.Error(w, fmt.Sprintf("%v: %s", err, out), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (d *datacentre) takeBack(_ http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	key := r.PathValue("cloud") + "/" + r.PathValue("name")
	h := d.sold[key]
	delete(d.sold, key)
	d.mu.Unlock()
	if h != nil {
		_ = h.Remove()
	}
}

func (d *datacentre) reserve(w http.ResponseWriter, r *http.Request) {
	var a struct {
		Family string `json:"family"`
	}
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil || strings.Contains(a.Family, "6") {
		http.NotFound(w, r)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next = d.next.Next()
	_ = json.NewEncoder(w).Encode(map[string]string{"address": d.next.String()})
}

// fakeClouds lays out the providers and returns the environment in which OpenTofu takes them for the real ones.
func fakeClouds(t *testing.T, socket string) []string {
	t.Helper()
	schemas, err := filepath.Abs("../../shared/schemas")
	if named := os.Getenv("FAKECLOUD_SCHEMAS"); named != "" {
		schemas = named
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(schemas, "hcloud.json")); err != nil {
		t.Skip("the schemas of the real providers are not here: name their folder in FAKECLOUD_SCHEMAS")
	}
	home, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	tofus, _ := filepath.Glob(filepath.Join(home, "pressenter", "tofu-*", "tofu")) //nolint:errcheck // the pattern is right
	if len(tofus) == 0 {
		t.Skip("OpenTofu is not built here: run 'sh build/tofu.sh'")
	}
	out := t.TempDir()
	c := exec.Command("go", "run", "./cmd/mirror", "-out", out, "-schemas", schemas, "-cloud", filepath.Join(out, "cloud"), "-hosts", socket)
	c.Dir = "../fakecloud"
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("lay out the fake cloud: %v\n%s", err, said)
	}
	return []string{
		"TF_CLI_CONFIG_FILE=" + filepath.Join(out, "tofurc"), "PRESSENTER_TOFU=" + tofus[0],
		"HCLOUD_TOKEN=" + strings.Repeat("t", 64), "VULTR_API_KEY=" + strings.Repeat("V", 36),
	}
}

// TestClouds goes from nothing but accounts at two clouds and a server that is there already to a validator that signs
// behind three sentries, and back.
func TestClouds(t *testing.T) {
	s := onServers(t, lab.Options{Hosts: 2})
	dc, socket := openDatacentre(t, s.lab)
	s.env = fakeClouds(t, socket)
	called := commandLines(t)
	d := config.Practice("clouds")
	d.Provider, d.Validator.Region = "hetzner", "fsn1"
	d.Sentries = []config.Sentry{
		{Name: "s1", Machine: config.Machine{Region: "nbg1"}},
		{Name: "s2", Machine: config.Machine{Provider: "vultr", Region: "waw"}},
		{Name: "s3", Machine: config.Machine{Provider: "ssh", Address: "h2"}},
	}
	s.write(t, d)
	if said := s.does(t, "plan"); !said.has("monthly cost: ", "EUR", "USD", "create server") {
		t.Errorf("nothing about machines or money in\n%v", said)
	}
	if len(dc.sold) != 0 {
		t.Errorf("a plan bought %v", dc.sold)
	}
	if said := s.does(t, "apply", "--yes"); !said.has("is signed by validator") {
		t.Errorf("nothing about a signature in\n%v", said)
	}
	s.noChanges(t)
	s.goesOn(t)

	t.Run("SSH is opened for a time", func(t *testing.T) { s.opensSSH(t, d) })
	t.Run("a sentry is replaced", func(t *testing.T) { replacesSentry(t, s, dc) })
	t.Run("a sentry moves to another cloud", func(t *testing.T) {
		d.Sentries[1].Provider, d.Sentries[1].Region = "", "hel1"
		d.Sentries[1].Name = "s4" // add first, remove in the same plan
		s.write(t, d)
		s.does(t, "apply", "--yes")
		s.noChanges(t)
		s.goesOn(t)
	})
	t.Run("secrets are nowhere else", func(t *testing.T) { s.keepsToItself(t, dc, called) })
	t.Run("destroy", func(t *testing.T) {
		s.does(t, "destroy", "--name", "clouds")
		dc.mu.Lock()
		defer dc.mu.Unlock()
		if len(dc.sold) != 0 {
			t.Errorf("still paid for: %v", dc.sold)
		}
	})
}

// replacesSentry gives s1 another machine. The validator's daemon runs on, and one machine is paid for in the end.
func replacesSentry(t *testing.T, s *servers, dc *datacentre) {
	inventory := func() deployment.Inventory {
		i, err := s.state().LoadInventory()
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	sold := func() int {
		dc.mu.Lock()
		defer dc.mu.Unlock()
		return len(dc.sold)
	}
	before, paid := inventory(), sold()
	daemon := s.does(t, "exec", "validator", "--", "pgrep", "-x", "practiced").out
	s.refuses(t, []string{"holds the whole key", "--replace-lost"}, "replace", "validator", "--yes")
	if said := s.does(t, "replace", "s1", "--yes"); !said.has("has joined", "give machines back: s1: ", "publish roster", "tombstones s1") {
		t.Errorf("the plan does not say what it does:\n%v", said)
	}
	was, _ := before.Host("s1")
	is, _ := inventory().Host("s1")
	if is.Address == was.Address || is.Machine() == was.Machine() {
		t.Errorf("s1 was %+v, is %+v", was, is)
	}
	if now := s.does(t, "exec", "validator", "--", "pgrep", "-x", "practiced").out; now != daemon {
		t.Errorf("the validator's daemon was %q, is %q", daemon, now)
	}
	if n := sold(); n != paid {
		t.Errorf("%d machines are paid for, and %d were", n, paid)
	}
	s.noChanges(t)
	s.goesOn(t)
}

// keepsToItself looks for secrets in all that is left of an apply to clouds: state, plans, user data, the clouds' own books, servers.
func (s *servers) keepsToItself(t *testing.T, dc *datacentre, called func() []byte) {
	s.runs(t, "plan", "--json")
	s.does(t, "eject", filepath.Join(s.base, "ejected"))
	inventory, err := s.state().LoadInventory()
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*lab.Host{}
	dc.mu.Lock()
	more := maps.Clone(dc.data)
	for _, is := range inventory.Hosts {
		for name, h := range dc.sold {
			if strings.HasSuffix(name, "-"+is.Machine()) {
				hosts[is.Name] = h
			}
		}
	}
	dc.mu.Unlock()
	hosts["s3"] = s.lab.Host("h2")
	all := s.secretsOf(t, hosts)
	for _, v := range s.env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "TF_CLI_CONFIG_FILE":
			for _, book := range []string{"cloud.json", "journal.jsonl"} {
				b, err := os.ReadFile(filepath.Join(filepath.Dir(value), "cloud", book))
				if err != nil {
					t.Fatal(err)
				}
				more["the clouds' "+book] = b
			}
		case "HCLOUD_TOKEN", "VULTR_API_KEY":
			all = append(all, textSecret(name, "", value))
		}
	}
	more["process lists"] = called()
	s.noLeaks(t, all, hosts, more)
}
