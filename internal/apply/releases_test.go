package apply

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/tofu"
)

var release = flag.String("release", "", "keep what this tree makes of machines at each cloud under that name, for the trees to come")

// releases holds, by release and cloud, what an operator's folder and the cloud held after an apply: the inventory, the public SSH
// key, the tool's state, encrypted as it was, with the passphrase, which opens nothing else, the runs, and the cloud's own objects.
var releases = filepath.Join("testdata", "releases")

// sizes are where each cloud is tried, and with what.
var sizes = map[string]struct{ region, size string }{
	"hetzner": {"fsn1", "cx33"}, "digitalocean": {"fra1", "s-4vcpu-8gb"}, "vultr": {"waw", "vc2-4c-8gb"},
	"openstack": {"GRA11", "b3-8"}, "exoscale": {"de-fra-1", "standard.large"},
}

// What an earlier release bought stays what it is: this tree's modules replace, destroy and buy nothing, and the plan after theirs
// is empty.
func TestReleases(t *testing.T) {
	if *release != "" {
		for cloud := range sizes {
			t.Run("keep "+cloud, func(t *testing.T) { keepRelease(t, filepath.Join(releases, *release, cloud), cloud) })
		}
	}
	all, err := filepath.Glob(filepath.Join(releases, "*", "*"))
	must(t, err)
	if len(all) == 0 {
		t.Fatalf("nothing is kept in %s", releases)
	}
	for _, kept := range all {
		t.Run(filepath.Base(filepath.Dir(kept))+"/"+filepath.Base(kept), func(t *testing.T) { plansRelease(t, kept) })
	}
}

func plansRelease(t *testing.T, kept string) {
	m := newMarket(t)
	must(t, os.CopyFS(m.cloud, os.DirFS(filepath.Join(kept, "cloud"))))
	must(t, os.RemoveAll(m.machines()))
	must(t, os.CopyFS(m.machines(), os.DirFS(filepath.Join(kept, "machines"))))
	must(t, os.CopyFS(m.Dir.Operator(), os.DirFS(filepath.Join(kept, "operator"))))
	i, err := m.Dir.LoadInventory()
	must(t, err)
	w, spec := m.keptMachines(i, kept)
	rec, err := w.Recover(t.Context(), spec, false)
	must(t, err)
	if !rec.Empty() {
		t.Errorf("its state is not believed: %+v", rec)
	}
	p, err := w.Plan(t.Context(), spec)
	must(t, err)
	for _, c := range p.Changes {
		switch {
		case c.Loses(), c.Action == provision.Forget:
			t.Errorf("it would %s %s: %v", c.Action, c.Address, c.Because)
		case c.Action != provision.Update && (c.Kind == provision.Server || c.Kind == provision.Volume || c.Kind == provision.Address):
			t.Errorf("it would %s %s", c.Action, c.Address)
		}
	}
	if t.Failed() || p.Empty() {
		return
	}
	must(t, w.Apply(t.Context(), p))
	if p, err := w.Plan(t.Context(), spec); err != nil || !p.Empty() {
		t.Errorf("the plan after that: %+v, %v", p.Changes, err)
	}
}

// keptMachines is the workspace of an inventory, and what it wants there.
func (m *market) keptMachines(i deployment.Inventory, kept string) (*provision.Workspace, tofu.Spec) {
	m.t.Helper()
	key, err := os.ReadFile(filepath.Join(kept, "operator", "ssh_key.pub"))
	must(m.t, err)
	passphrase, err := os.ReadFile(filepath.Join(kept, "state-passphrase"))
	must(m.t, err)
	tool, err := provision.Find(m.t.Context(), m.Session.Cloud.Tool, provision.Fetcher{})
	must(m.t, err)
	clouds := cloudsOf(i.Clouds, i.Hosts)
	spec := plan.Machines(i, []string{string(key)})
	spec.Keep = clouds
	return &provision.Workspace{Dir: m.machines(), Tool: tool, Clouds: clouds, Passphrase: passphrase, Progress: func(provision.Event) {}}, spec
}

// What is of the computer and the moment on which a release was kept, and of nobody's use.
var (
	daemonPath = regexp.MustCompile(`"path": "[^"]*"`)
	thisRun    = regexp.MustCompile(`(?s)"begun": "[^"]*",\s*"process": \{.*?\},\s*`)
)

// keepRelease buys a validator with a volume and a sentry, and keeps what there is then.
func keepRelease(t *testing.T, to, cloud string) {
	m := newMarket(t)
	m.Config.Provider, m.Config.Sentries = cloud, m.Config.Sentries[:1]
	at := sizes[cloud]
	m.Config.Validator.Region, m.Config.Validator.Size, m.Config.Validator.VolumeGB = at.region, at.size, 50
	m.Config.Sentries[0].Region, m.Config.Sentries[0].Size = at.region, at.size
	p, err := m.Plan(t.Context())
	must(t, err)
	must(t, m.Do(t.Context(), p))
	w, err := m.workspace(t.Context())
	must(t, err)
	must(t, os.RemoveAll(to))
	keep := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(to, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, b, 0o644))
	}
	state, err := os.ReadFile(filepath.Join(m.machines(), "terraform.tfstate"))
	must(t, err)
	keep("machines/terraform.tfstate", state)
	keep("state-passphrase", w.Passphrase)
	inventory, err := os.ReadFile(filepath.Join(m.Dir.Operator(), "inventory.json"))
	must(t, err)
	keep("operator/inventory.json", daemonPath.ReplaceAll(inventory, []byte(`"path": "/home/operator/practiced"`)))
	key, err := ssh.PublicIdentity(SSHKey(m.Dir))
	must(t, err)
	keep("operator/ssh_key.pub", []byte(key))
	objects, err := os.ReadFile(filepath.Join(m.cloud, "cloud.json"))
	must(t, err)
	keep("cloud/cloud.json", objects)
	must(t, fs.WalkDir(os.DirFS(m.machines()), "runs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "run.json" {
			return err
		}
		b, err := os.ReadFile(filepath.Join(m.machines(), path))
		must(t, err)
		keep("machines/"+path, thisRun.ReplaceAll(b, []byte(`"begun": "2026-01-01T00:00:00Z", "process": {}, `)))
		return nil
	}))
}
