package provision

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pressenter/pressenter/tofu"
)

var soak = flag.Bool("soak", false, "every cloud, every kind of event")

// soakOnly leaves a case out of what every change runs.
func soakOnly(t *testing.T) {
	t.Helper()
	if !*soak {
		t.Skip("only with -soak")
	}
}

// childEnv holds what a copy of this test program is to apply: it is there to be killed.
const childEnv = "PROVISION_TEST_APPLY"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := applyAsChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if mirror.dir != "" {
		_ = os.RemoveAll(mirror.dir)
	}
	os.Exit(code)
}

// mirror is the program that lays out the fake clouds' providers, built once.
var mirror struct {
	once sync.Once
	dir  string
	err  error
}

func mirrorProgram(t testing.TB) string {
	t.Helper()
	mirror.once.Do(func() {
		if mirror.dir, mirror.err = os.MkdirTemp("", "provision-test"); mirror.err != nil {
			return
		}
		c := exec.Command("go", "build", "-o", filepath.Join(mirror.dir, "mirror"), "./cmd/mirror")
		c.Dir = filepath.Join("..", "..", "fakecloud")
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := c.CombinedOutput(); err != nil {
			mirror.err = fmt.Errorf("build the fake clouds: %w\n%s", err, out)
		}
	})
	if mirror.err != nil {
		t.Fatal(mirror.err)
	}
	return filepath.Join(mirror.dir, "mirror")
}

// realTool is the program of that name; the test is skipped, and says why, where it is not there.
func realTool(t testing.TB, name string) Tool {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs the real tool many times")
	}
	path := name
	if name == "tofu" {
		mod, err := os.ReadFile(filepath.Join("..", "..", "tofutool", "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		version := regexp.MustCompile(`github\.com/opentofu/opentofu v([0-9.]+)`).FindSubmatch(mod)
		cache, err := os.UserCacheDir()
		if err != nil || version == nil {
			t.Fatalf("no cache folder (%v) or no version of tofu", err)
		}
		path = filepath.Join(cache, "pressenter", "tofu-"+string(version[1]), "tofu")
	}
	tool, err := Find(t.Context(), path, Fetcher{archives: map[string]string{}})
	if err != nil {
		t.Skipf("%v (sh build/tofu.sh builds OpenTofu)", err)
	}
	return tool
}

// rig is a workspace before a cloud of its own.
type rig struct {
	*Workspace
	t     testing.TB
	cloud string            // its folder
	env   map[string]string // what the tool may see beside what this process has
	mu    sync.Mutex
	said  []Event
	watch func(Event)
}

const passphrase = "correct horse battery staple"

// secrets are what must be in nothing that is written.
var secrets = []string{strings.Repeat("t", 64), "digitalocean-secret", "vultr-secret", "openstack-secret", "exoscale-secret", passphrase}

// besides are the tests that run beside each other already: one may have several rigs.
var besides sync.Map

// newRig makes a workspace and the clouds that it sees, beside those of other tests. Hosts is the socket of a hook, or "".
func newRig(t testing.TB, tool, hosts string) *rig {
	t.Helper()
	real := realTool(t, tool)
	if one, is := t.(*testing.T); is {
		if _, has := besides.LoadOrStore(one, true); !has {
			one.Parallel()
		}
	}
	schemas, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "schemas"))
	if s := os.Getenv("FAKECLOUD_SCHEMAS"); s != "" {
		schemas = s
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(schemas, "hcloud.json")); err != nil {
		t.Skip("the schemas of the real providers are not here: name their folder in FAKECLOUD_SCHEMAS")
	}
	out := t.TempDir()
	args := []string{"-out", out, "-schemas", schemas}
	if hosts != "" {
		args = append(args, "-hosts", hosts)
	}
	if text, err := exec.Command(mirrorProgram(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("lay out the fake clouds: %v\n%s", err, text)
	}
	env := map[string]string{
		"TF_CLI_CONFIG_FILE": filepath.Join(out, "tofurc"), "HOME": t.TempDir(),
		"HCLOUD_TOKEN": secrets[0], "DIGITALOCEAN_TOKEN": secrets[1], "VULTR_API_KEY": secrets[2], "OS_AUTH_URL": "http://127.0.0.1:1",
		"OS_PASSWORD": secrets[3], "EXOSCALE_API_KEY": "EXO", "EXOSCALE_API_SECRET": secrets[4],
	}
	if err := os.MkdirAll(filepath.Join(out, "cloud"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, cloud: filepath.Join(out, "cloud"), env: env}
	r.Workspace = &Workspace{Dir: filepath.Join(t.TempDir(), "w"), Tool: real, Passphrase: []byte(passphrase), Progress: r.hear, variable: r.variable}
	return r
}

// variable is one of the environment in which the rig is.
func (r *rig) variable(name string) (string, bool) {
	if v, ok := r.env[name]; ok {
		return v, true
	}
	return os.LookupEnv(name)
}

// environ is all of it.
func (r *rig) environ() []string {
	env := os.Environ()
	for name, value := range r.env {
		env = append(env, name+"="+value)
	}
	return env
}

// again is the workspace as another process would open it.
func (r *rig) again() {
	r.Workspace = &Workspace{Dir: r.Dir, Tool: r.Tool, Passphrase: r.Passphrase, Clouds: r.Clouds, Extra: r.Extra, Progress: r.hear, variable: r.variable}
}

func (r *rig) hear(e Event) {
	r.mu.Lock()
	r.said = append(r.said, e)
	watch := r.watch
	r.mu.Unlock()
	if watch != nil {
		watch(e)
	}
}

// heard says whether an event had those words.
func (r *rig) heard(words string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.said, func(e Event) bool { return strings.Contains(e.Message, words) })
}

// places are where each cloud is tried.
var places = map[string]struct{ region, size string }{
	"hetzner": {"fsn1", "cx33"}, "digitalocean": {"fra1", "s-4vcpu-8gb"}, "vultr": {"waw", "vc2-4c-8gb"},
	"openstack": {"GRA11", "b3-8"}, "exoscale": {"de-fra-1", "standard.large"},
}

// fleet is a validator with a volume, v1, and sentries s1…, all in one cloud.
func fleet(cloud string, sentries int) tofu.Spec {
	s := tofu.Spec{
		Deployment: "trial", ID: "0123456789ab", AdminCIDRs: []string{"198.51.100.7/32"}, Hosts: map[string]tofu.Host{},
		SSHKeys: []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdd2jYQ0HqbYjGqdyYBVxKzDYTpN0Qn3u0TGTg1OtVv operator@here"},
	}
	at := places[cloud]
	s.Hosts["v1"] = tofu.Host{Cloud: cloud, Role: tofu.RoleValidator, Region: at.region, Size: at.size, VolumeGB: 50, Group: "core"}
	for i := range sentries {
		s.Hosts[fmt.Sprintf("s%d", i+1)] = tofu.Host{
			Cloud: cloud, Role: tofu.RoleSentry, Region: at.region, Size: at.size, Group: "edge",
			Ports: []tofu.Port{{Protocol: "tcp", Port: 26656}, {Protocol: "udp", Port: 51820}},
		}
	}
	return s
}

// plan recovers and plans, as every caller does.
func (r *rig) plan(s tofu.Spec) *Plan {
	r.t.Helper()
	r.uses(s)
	if _, err := r.Recover(r.t.Context(), s, false); err != nil {
		r.t.Fatal(err)
	}
	p, err := r.Plan(r.t.Context(), s)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// uses lets the tool see the credentials of the spec's clouds.
func (r *rig) uses(s tofu.Spec) {
	for _, h := range s.Hosts {
		r.Clouds = union(r.Clouds, []string{h.Cloud})
	}
}

func (r *rig) apply(s tofu.Spec) {
	r.t.Helper()
	if err := r.Apply(r.t.Context(), r.plan(s)); err != nil {
		r.t.Fatal(err)
	}
}

// quiet fails unless a plan of s changes nothing.
func (r *rig) quiet(s tofu.Spec) {
	r.t.Helper()
	if p := r.plan(s); !p.Empty() {
		r.t.Errorf("the next plan is not empty: %v", lines(p))
	}
}

// lines are a plan's changes in words.
func lines(p *Plan) (out []string) {
	for _, c := range p.Changes {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Action, c.Address, strings.Join(c.Because, ","))))
	}
	return out
}

// objects are the ids of what the clouds hold, by type.
func (r *rig) objects() map[string][]string {
	r.t.Helper()
	var w struct {
		Objects map[string]map[string]json.RawMessage
	}
	b, err := os.ReadFile(filepath.Join(r.cloud, "cloud.json"))
	if err == nil {
		err = json.Unmarshal(b, &w)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	out := map[string][]string{}
	for typ, all := range w.Objects {
		for id := range all {
			out[typ] = append(out[typ], id)
		}
	}
	return out
}

// allKnown fails unless the state knows every object of the clouds, each once.
func (r *rig) allKnown() {
	r.t.Helper()
	s, err := r.readState(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	count := map[string]int{}
	for address, id := range s {
		count[typeOf(address)+" "+id]++
	}
	for typ, ids := range r.objects() {
		for _, id := range ids {
			if n := count[typ+" "+id]; n != 1 {
				r.t.Errorf("the cloud has %s %s, which is %d times in the state", typ, id, n)
			}
		}
	}
}

// servers fails unless the clouds have that many servers.
func (r *rig) servers(n int) {
	r.t.Helper()
	got := 0
	for typ, ids := range r.objects() {
		if kindOf(typ) == Server {
			got += len(ids)
		}
	}
	if got != n {
		r.t.Errorf("%d servers, want %d: %v", got, n, r.objects())
	}
}

type fault struct {
	Op    string `json:"op"`
	Type  string `json:"type"`
	Name  string `json:"name,omitempty"`
	Fault string `json:"fault"`
	Skip  int    `json:"skip,omitempty"`
	Times int    `json:"times"`
	At    string `json:"at,omitempty"`
}

func (r *rig) faults(fs ...fault) {
	r.t.Helper()
	b, err := json.Marshal(map[string]any{"faults": fs})
	if err == nil {
		err = os.WriteFile(filepath.Join(r.cloud, "faults.json"), b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// hook stands for who makes hosts: calls with the fault "slow" are held until they are let go.
type hook struct {
	socket  string
	held    chan string // the type of what is held
	release chan struct{}
	once    sync.Once
}

func newHook(t testing.TB) *hook {
	t.Helper()
	h := &hook{socket: filepath.Join(t.TempDir(), "h"), held: make(chan string, 100), release: make(chan struct{})}
	l, err := net.Listen("unix", h.socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	var mu sync.Mutex
	n := 0
	mux.HandleFunc("POST /servers", func(rw http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n++
		_ = json.NewEncoder(rw).Encode(map[string]string{"ipv4": fmt.Sprintf("203.0.113.%d", n), "ipv6": fmt.Sprintf("2001:db8:1::%d", n), "private_ipv4": ""})
	})
	mux.HandleFunc("POST /hold", func(_ http.ResponseWriter, req *http.Request) {
		var what struct{ Type string }
		_ = json.NewDecoder(req.Body).Decode(&what) // it is ours
		h.held <- what.Type
		select {
		case <-h.release:
		case <-req.Context().Done():
		}
	})
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { h.letGo(); _ = s.Close() })
	return h
}

func (h *hook) letGo() { h.once.Do(func() { close(h.release) }) }

// applyAsChild is Apply in a process of its own.
func applyAsChild(text string) error {
	var job struct {
		Workspace *Workspace
		Spec      tofu.Spec
	}
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	ctx := context.Background()
	words := json.NewEncoder(os.Stdout)
	job.Workspace.Progress = func(e Event) { _ = words.Encode(e) } // who reads it may be gone
	if _, err := job.Workspace.Recover(ctx, job.Spec, false); err != nil {
		return err
	}
	p, err := job.Workspace.Plan(ctx, job.Spec)
	if err != nil {
		return err
	}
	return job.Workspace.Apply(ctx, p)
}
