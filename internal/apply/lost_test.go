package apply

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/tofu"
)

// neighbours buys a machine for another deployment in the same account, and returns what there is of it.
func (m *market) neighbours() map[string][]string {
	m.t.Helper()
	tool, err := provision.Find(m.t.Context(), m.Cloud.Tool, provision.Fetcher{})
	must(m.t, err)
	w := &provision.Workspace{Dir: filepath.Join(m.t.TempDir(), "w"), Tool: tool, Clouds: []string{"hetzner"}}
	p, err := w.Plan(m.t.Context(), tofu.Spec{
		Deployment: "hub", ID: "ffffffffffff", SSHKeys: []string{unbornKey},
		Hosts: map[string]tofu.Host{"s1": {Cloud: "hetzner", Role: tofu.RoleSentry, Region: "fsn1", Size: "cx33"}},
	})
	must(m.t, err)
	must(m.t, w.Apply(m.t.Context(), p))
	return m.objects()
}

// forgets deletes what is known here of machines, and what of the inventory is said.
func (m *market) forgets(clouds, id bool) {
	m.t.Helper()
	must(m.t, os.RemoveAll(m.machines()))
	m.inventory(clouds, id)
}

func (m *market) inventory(clouds, id bool) {
	m.t.Helper()
	i := m.own.inventory
	if clouds {
		i.Clouds = nil
	}
	if id {
		i.MachinesID = ""
	}
	must(m.t, m.own.dir.SaveInventory(i))
	m.again()
}

// All that was known of the machines is gone: they are found again by the deployment's id, nothing is bought twice, and what
// is destroyed is theirs alone.
func TestMachinesAreFoundAgain(t *testing.T) {
	m := newMarket(t)
	theirs := m.neighbours()
	applies(t, m.Session)
	all := m.objects()
	b, err := os.ReadFile(filepath.Join(m.cloud, "cloud.json"))
	must(t, err)
	if n := strings.Count(strings.ReplaceAll(string(b), " ", ""), `"delete_protection":true`); n != 3 { // server and addresses of the validator
		t.Errorf("%d things are protected in the cloud", n)
	}

	m.forgets(false, false)
	applies(t, m.Session)
	if diff := cmp.Diff(all, m.objects()); diff != "" {
		t.Errorf("bought or lost (-before +after):\n%s", diff)
	}
	if p, err := m.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("after that: %v, %v", p.Steps(), err)
	}

	m.inventory(true, true) // the folder is there, the inventory has forgotten it
	if p, err := m.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("without a word of it in the inventory: %v, %v", p.Steps(), err)
	}
	i := m.own.inventory
	must(t, m.own.dir.SaveInventory(i))

	m.forgets(true, false)
	cloud := filepath.Join(m.cloud, "cloud.json")
	must(t, os.Rename(cloud, cloud+".away")) // another account
	var notFound *NotFound
	if _, err := m.Session.Destroy(t.Context(), false, func(Target, error) {}); !errors.As(err, &notFound) || !strings.Contains(err.Error(), "no machine of s1, s2, validator") {
		t.Fatalf("in another account: %v", err)
	}
	must(t, os.Rename(cloud+".away", cloud))
	if len(m.own.inventory.Hosts) != 3 {
		t.Error("hosts were destroyed before their machines were found")
	}
	m.again()
	_, err = m.Session.Destroy(t.Context(), false, func(Target, error) {})
	must(t, err)
	if diff := cmp.Diff(theirs, m.objects()); diff != "" {
		t.Errorf("what is left, beside the neighbours' (-want +got):\n%s", diff)
	}
}

// Credentials of another account give nothing back, which does not look as if they had: not before the hosts have left, and not
// after a destroy that was cut off while they did.
func TestDestroyInAnotherAccount(t *testing.T) {
	m := newMarket(t)
	applies(t, m.Session)
	cloud := filepath.Join(m.cloud, "cloud.json")
	refused := func(when string) {
		t.Helper()
		must(t, os.Rename(cloud, cloud+".away"))
		m.again()
		var notFound *NotFound
		if _, err := m.Session.Destroy(t.Context(), false, func(Target, error) {}); !errors.As(err, &notFound) || !strings.Contains(err.Error(), "no machine of s1, s2, validator") {
			t.Errorf("%s: %v", when, err)
		}
		must(t, os.RemoveAll(cloud))
		must(t, os.Rename(cloud+".away", cloud))
		m.again()
	}
	refused("with all hosts")
	if len(m.own.inventory.Hosts) != 3 {
		t.Error("hosts were destroyed whose machines nobody saw")
	}
	for _, name := range []string{"s1", "s2"} {
		h, _ := m.own.inventory.Host(name)
		must(t, m.Provider.Destroy(t.Context(), h, ""))
		m.own.inventory.Drop(name)
	}
	must(t, m.own.dir.SaveInventory(m.own.inventory))
	refused("after some hosts have left")
	_, err := m.Session.Destroy(t.Context(), false, func(Target, error) {})
	must(t, err)
	if left := m.objects(); len(left["hcloud_server"]) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Where nothing is known, as in a wrong folder, machines that the config buys are not said to be destroyed.
func TestDestroyNothingKnown(t *testing.T) {
	s, _ := newServers(t)
	s.Config.Provider = "hetzner"
	must(t, s.Open())
	t.Cleanup(s.Close)
	var nothing *NothingKnown
	if _, err := s.Destroy(t.Context(), false, func(Target, error) {}); !errors.As(err, &nothing) {
		t.Errorf("destroyed: %v", err)
	}
	if _, err := os.Stat(s.Dir.Operator()); err != nil {
		t.Errorf("it was moved away: %v", err)
	}
}

// A cloud that was left is asked again in the end: what it did not give back is not paid for ever.
func TestDestroyAsksCloudsThatWereLeft(t *testing.T) {
	m := newMarket(t)
	m.Config.Sentries[1].Provider = "vultr"
	applies(t, m.Session)
	path := filepath.Join(m.cloud, "cloud.json")
	const server = "vultr_instance"
	world := func() (all map[string]any, servers map[string]any) {
		b, err := os.ReadFile(path)
		must(t, err)
		must(t, json.Unmarshal(b, &all))
		servers, _ = all["objects"].(map[string]any)[server].(map[string]any)
		return all, servers
	}
	_, kept := world()
	if len(kept) != 1 {
		t.Fatalf("at vultr: %v", m.objects())
	}
	m.Config.Sentries = m.Config.Sentries[:1]
	applies(t, m.Session)
	all, there := world()
	if len(there) > 0 || len(m.own.inventory.Clouds) != 1 {
		t.Fatalf("%v are left, and the inventory has %v", there, m.own.inventory.Clouds)
	}
	all["objects"].(map[string]any)[server] = kept
	b, err := json.Marshal(all)
	must(t, err)
	must(t, os.WriteFile(path, b, 0o600))

	t.Setenv("VULTR_API_KEY", "")
	m.again()
	var notAsked *NotAsked
	if _, err := m.Session.Destroy(t.Context(), false, func(Target, error) {}); !errors.As(err, &notAsked) || len(m.own.inventory.Hosts) != 2 {
		t.Errorf("without credentials: %v, and %d hosts", err, len(m.own.inventory.Hosts))
	}
	t.Setenv("VULTR_API_KEY", "vultr-secret")
	m.again()
	_, err = m.Session.Destroy(t.Context(), false, func(Target, error) {})
	must(t, err)
	if left := m.objects(); len(left[server]) > 0 {
		t.Errorf("left: %v", left)
	}
}
