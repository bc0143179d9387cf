package fakecloud

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMain makes the test program a provider where it is called like one: the mirror of the tests has copies of it.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "terraform-provider-") {
		if err := Serve(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// realSchemas is the folder with the schemas of the real providers, which are no part of the repository.
func realSchemas(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FAKECLOUD_SCHEMAS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "schemas")
	}
	if _, err := os.Stat(filepath.Join(dir, "hcloud.json")); err != nil {
		t.Skip("the schemas of the real providers are not here: name their folder in FAKECLOUD_SCHEMAS")
	}
	return dir
}

// tools are the programs that the tests run, by name.
var tools = []string{"tofu", "terraform"}

func tool(t *testing.T, name string) string {
	t.Helper()
	if name == "terraform" {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip("there is no terraform on PATH")
		}
		return path
	}
	mod, err := os.ReadFile(filepath.Join("..", "tofutool", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`github\.com/opentofu/opentofu v([0-9.]+)`).FindSubmatch(mod)
	cache, err := os.UserCacheDir()
	if err != nil || version == nil {
		t.Fatalf("no cache folder (%v) or no version of tofu", err)
	}
	path := filepath.Join(cache, "pressenter", "tofu-"+string(version[1]), "tofu")
	if _, err := os.Stat(path); err != nil {
		t.Skip("tofu is not built: sh build/tofu.sh builds it")
	}
	return path
}

// root is a folder with a configuration, and a cloud of its own.
type root struct {
	t                *testing.T
	tool, dir, cloud string
	env              []string
}

var credentials = []string{
	"HCLOUD_TOKEN=" + strings.Repeat("t", 64), "DIGITALOCEAN_TOKEN=t", "VULTR_API_KEY=t", "EXOSCALE_API_KEY=t", "EXOSCALE_API_SECRET=t",
	"OS_AUTH_URL=http://127.0.0.1:1", "OS_PASSWORD=t",
}

func newRoot(t *testing.T, name, schemas string) *root {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	config, err := Mirror(out, program, Settings{Schemas: schemas})
	if err != nil {
		t.Fatal(err)
	}
	r := &root{t: t, tool: tool(t, name), dir: t.TempDir(), cloud: filepath.Join(out, "cloud")}
	r.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TF_CLI_CONFIG_FILE=" + config, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1",
	}, credentials...)
	return r
}

func (r *root) write(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the tool and answers what it printed and its exit code.
func (r *root) run(args ...string) (string, int) {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), r.tool, args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("%s %v: %v", r.tool, args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (r *root) must(args ...string) string {
	r.t.Helper()
	out, code := r.run(args...)
	if code != 0 {
		r.t.Fatalf("%v: exit code %d\n%s", args, code, out)
	}
	return out
}

// plan is the exit code of a plan: 0 for no changes, 2 for changes.
func (r *root) plan(want int, args ...string) string {
	r.t.Helper()
	out, code := r.run(append([]string{"plan", "-input=false", "-no-color", "-detailed-exitcode", "-out=p"}, args...)...)
	if code != want {
		r.t.Fatalf("plan: exit code %d, want %d\n%s", code, want, out)
	}
	return out
}

func (r *root) apply(args ...string) string {
	r.t.Helper()
	return r.must(append([]string{"apply", "-input=false", "-no-color", "-auto-approve"}, args...)...)
}

// actions are what the last plan would do, by address.
func (r *root) actions() map[string][]string {
	r.t.Helper()
	var plan struct {
		Changes []struct {
			Address string
			Change  struct{ Actions []string }
		} `json:"resource_changes"`
	}
	if err := json.Unmarshal([]byte(r.must("show", "-json", "p")), &plan); err != nil {
		r.t.Fatal(err)
	}
	out := map[string][]string{}
	for _, c := range plan.Changes {
		if !slices.Equal(c.Change.Actions, []string{"no-op"}) && !strings.HasPrefix(c.Address, "data.") {
			out[c.Address] = c.Change.Actions
		}
	}
	return out
}

func (r *root) output(name string, into any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.must("output", "-json", name)), into); err != nil {
		r.t.Fatal(err)
	}
}

// world changes the cloud behind the tool's back.
func (r *root) world(change func(*world)) {
	r.t.Helper()
	if err := (store{r.cloud}).with(func(w *world) error { change(w); return nil }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *root) nothingRemains() {
	r.t.Helper()
	left, err := Remaining(r.cloud)
	if err != nil || len(left) > 0 {
		r.t.Fatalf("the cloud still has %v (%v)", left, err)
	}
}

// inFolder looks for a text in every file of the tool's folder: state, plans and backups.
func (r *root) inFolder(secret string) []string {
	var found []string
	for _, name := range []string{"terraform.tfstate", "terraform.tfstate.backup"} {
		raw, _ := os.ReadFile(filepath.Join(r.dir, name))
		if strings.Contains(string(raw), secret) {
			found = append(found, name)
		}
	}
	return found
}
