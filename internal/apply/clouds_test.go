package apply

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
)

// market is a deployment whose hosts are bought from fake clouds by the real tool; what runs on them is of a farm.
type market struct {
	*Session
	servers
	t     *testing.T
	cloud string // the folder of the clouds
}

// newMarket has a validator and two sentries at hetzner, nothing of it bought yet.
func newMarket(t *testing.T) *market {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs the real tool many times")
	}
	tool := realTofu(t)
	schemas, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "schemas"))
	must(t, err)
	if named := os.Getenv("FAKECLOUD_SCHEMAS"); named != "" {
		schemas = named
	}
	if _, err := os.Stat(filepath.Join(schemas, "hcloud.json")); err != nil {
		t.Skip("the schemas of the real providers are not here: name their folder in FAKECLOUD_SCHEMAS")
	}
	out := t.TempDir()
	lay := exec.Command("go", "run", "./cmd/mirror", "-out", out, "-schemas", schemas)
	lay.Dir = filepath.Join("..", "..", "fakecloud")
	lay.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := lay.CombinedOutput(); err != nil {
		t.Fatalf("lay out the fake clouds: %v\n%s", err, text)
	}
	for name, value := range map[string]string{
		"TF_CLI_CONFIG_FILE": filepath.Join(out, "tofurc"), "HCLOUD_TOKEN": strings.Repeat("t", 64), "VULTR_API_KEY": "vultr-secret",
		"DIGITALOCEAN_TOKEN": "digitalocean-secret", "OS_AUTH_URL": "http://127.0.0.1:1", "OS_PASSWORD": "openstack-secret",
		"EXOSCALE_API_KEY": "EXO", "EXOSCALE_API_SECRET": "exoscale-secret",
	} {
		t.Setenv(name, value)
	}
	s, p := newServers(t)
	s.Cloud.Tool = tool
	s.Config.Provider = "hetzner"
	s.Config.Validator.Machine = config.Machine{}
	for i := range s.Config.Sentries {
		s.Config.Sentries[i].Machine = config.Machine{}
	}
	m := &market{Session: s, servers: p, t: t, cloud: filepath.Join(out, "cloud")}
	must(t, os.MkdirAll(m.cloud, 0o700))
	must(t, s.Open())
	return m
}

// realTofu is OpenTofu as build/tofu.sh builds it.
func realTofu(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join("..", "..", "tofutool", "go.mod"))
	must(t, err)
	version := regexp.MustCompile(`github\.com/opentofu/opentofu v([0-9.]+)`).FindSubmatch(mod)
	cache, err := os.UserCacheDir()
	must(t, err)
	path := filepath.Join(cache, "pressenter", "tofu-"+string(version[1]), "tofu")
	if _, err := os.Stat(path); err != nil {
		t.Skip("OpenTofu is not built here: run 'sh build/tofu.sh'")
	}
	return path
}

// objects are the names of what the clouds hold, by type.
func (m *market) objects() map[string][]string {
	m.t.Helper()
	var w struct {
		Objects map[string]map[string]struct{ Name string }
	}
	b, err := os.ReadFile(filepath.Join(m.cloud, "cloud.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(m.t, err)
	must(m.t, json.Unmarshal(b, &w))
	out := map[string][]string{}
	for typ, all := range w.Objects {
		for id, o := range all {
			out[typ] = append(out[typ], o.Name+" "+id)
		}
		slices.Sort(out[typ])
	}
	return out
}

// again is the same deployment as the next command opens it.
func (m *market) again() {
	m.t.Helper()
	m.Close()
	was := m.Session
	m.Session = &Session{Config: was.Config, Dir: was.Dir, Daemon: was.Daemon, Provider: was.Provider, Who: was.Who, PublicOf: was.PublicOf, Cloud: was.Cloud, Progress: was.Progress}
	must(m.t, m.Open())
	m.t.Cleanup(m.Close)
}

// What cannot be had is said before anything is bought, and what to do.
func TestNothingIsBoughtThatCannotBeHad(t *testing.T) {
	m := newMarket(t)
	for name, c := range map[string]struct {
		token, size string
		why, next   string
	}{
		"a revoked token": {"revoked" + strings.Repeat("x", 57), "", "401", "environment"},
		"a wrong size":    {strings.Repeat("t", 64), "cx999", `size "cx999" of s1 cannot be had`, "choose another region or size"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HCLOUD_TOKEN", c.token)
			m.Config.Sentries[0].Size = c.size
			_, err := m.Plan(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Fatalf("want %q, have %v", c.why, err)
			}
			next := ""
			var refusal *plan.Refusal
			var hinted interface{ Hint() string }
			if errors.As(err, &refusal) {
				next = refusal.Next
			} else if errors.As(err, &hinted) {
				next = hinted.Hint()
			}
			if !strings.Contains(next, c.next) {
				t.Errorf("the next step is %q", next)
			}
			if bought := m.objects(); len(bought) > 0 {
				t.Errorf("bought: %v", bought)
			}
		})
	}
	m.Config.Sentries[0].Size = ""
	a, err := m.AskClouds(t.Context())
	if err != nil || !slices.ContainsFunc(a.Checks, func(c provision.Check) bool { return c.What == "size" && c.OK }) {
		t.Errorf("%v, %v", a, err)
	}
	p, err := m.Plan(t.Context())
	must(t, err)
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "not checked: limits of the project") }) {
		t.Errorf("nothing of what was not checked in %q", p.Notes)
	}
	must(t, m.Do(t.Context(), p))
	asked := m.asks()
	if asked == 0 {
		t.Fatal("nobody was asked")
	}
	if p, err := m.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("the second plan: %v, %v", p.Steps(), err)
	}
	if m.asks() != asked {
		t.Error("a plan that buys nothing asked what can be bought")
	}
	a, err = m.AskClouds(t.Context())
	if err != nil || len(a.Checks) > 0 || a.Tool.Version == "" {
		t.Errorf("with all bought: %v, %v", a, err)
	}
}

// asks is how often the clouds were asked what they sell.
func (m *market) asks() int {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.cloud, "journal.jsonl"))
	must(m.t, err)
	return strings.Count(string(b), "hcloud_server_types")
}
