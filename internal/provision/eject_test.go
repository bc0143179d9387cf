package provision

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was replaced and is still there would be forgotten by who goes on without the state: it is named, and nothing is
// ejected. The next plan destroys it, and then all is taken over.
func TestEjectNamesWhatIsDeposed(t *testing.T) {
	r := newRig(t, "tofu", "")
	s := fleet("hetzner", 1)
	r.apply(s)
	r.deposes("hcloud_volume", "data")
	_, err := r.Taken(t.Context(), s)
	var left *Deposed
	if !errors.As(err, &left) || len(left.What) != 1 || !strings.Contains(left.What[0], `hcloud_volume.data["v1"]`) {
		t.Fatalf("a volume that is paid for is left out: %v", err)
	}
	p := r.plan(s)
	if len(p.Changes) != 1 || p.Changes[0].Action != Destroy || !strings.Contains(strings.Join(p.Changes[0].Because, " "), "still there") {
		t.Errorf("the plan is %v", lines(p))
	}
	if err := r.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	spec, err := r.Taken(t.Context(), s)
	if err != nil || len(spec.Imports) == 0 {
		t.Errorf("nothing is deposed any more: %d imports, %v", len(spec.Imports), err)
	}
	r.allKnown()
}

// deposes gives the first object of a type a second one in the cloud, which the state has as replaced and not destroyed.
func (r *rig) deposes(typ, name string) {
	r.t.Helper()
	path := filepath.Join(r.cloud, "cloud.json")
	var cloud map[string]any
	r.loads(path, &cloud)
	all := cloud["objects"].(map[string]any)[typ].(map[string]any)
	for _, o := range all {
		text, err := json.Marshal(o)
		if err != nil {
			r.t.Fatal(err)
		}
		second := map[string]any{}
		if err := json.Unmarshal(text, &second); err != nil {
			r.t.Fatal(err)
		}
		second["name"] = "second"
		values := second["values"].(map[string]any)
		values["id"], values["name"], values["delete_protection"] = "9999", "second", false
		all["9999"] = second
		break
	}
	r.saves(path, cloud)

	out, err := r.ask(r.t.Context(), "state", "pull")
	if err != nil {
		r.t.Fatal(err)
	}
	var st map[string]any
	if err := json.Unmarshal(out, &st); err != nil {
		r.t.Fatal(err)
	}
	st["serial"] = st["serial"].(float64) + 1
	for _, res := range st["resources"].([]any) {
		resource := res.(map[string]any)
		if resource["type"] != typ || resource["name"] != name {
			continue
		}
		instances := resource["instances"].([]any)
		text, _ := json.Marshal(instances[0]) // it was read from JSON
		old := map[string]any{}
		_ = json.Unmarshal(text, &old)
		old["deposed"] = "0badcafe"
		attributes := old["attributes"].(map[string]any)
		attributes["id"], attributes["name"], attributes["delete_protection"] = "9999", "second", false
		resource["instances"] = append(instances, old)
	}
	plain, err := json.Marshal(st)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.run(r.t.Context(), command{args: []string{"state", "push", "-"}, in: plain}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) loads(path string, into any) {
	r.t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) saves(path string, v any) {
	r.t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
