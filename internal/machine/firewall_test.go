package machine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A filter that will not be loaded at boot is told of, whichever part of it was changed.
func TestFirewallAtBoot(t *testing.T) {
	for name, tc := range map[string]struct {
		do      func(file, unit string) error
		filter  string // what was noted
		enabled string
		subject string // of the finding: file, unit or none
		says    string
	}{
		"as it should be":          {nil, "filter", "enabled", "", ""},
		"noted by an older set-up": {nil, "", "enabled", "", ""},
		"the filter is away":       {func(file, _ string) error { return os.Remove(file) }, "filter", "enabled", "file", "not there"},
		"the filter was edited":    {func(file, _ string) error { return os.WriteFile(file, []byte("# none"), 0o600) }, "filter", "enabled", "file", "edited"},
		"the unit is away":         {func(_, unit string) error { return os.Remove(unit) }, "filter", "", "unit", "removed"},
		"the unit was edited":      {func(_, unit string) error { return os.WriteFile(unit, []byte("uniT"), 0o600) }, "filter", "enabled", "unit", "edited"},
		"the unit is disabled":     {nil, "filter", "disabled", "unit", "not enabled"},
		"the unit is masked":       {nil, "filter", "masked", "unit", "masked"},
		"nobody knows":             {nil, "filter", "", "unit", "not enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, unit := filepath.Join(dir, "file"), filepath.Join(dir, "unit")
			for path, text := range map[string]string{file: "filter", unit: "unit"} {
				if _, err := place(path, text); err != nil {
					t.Fatal(err)
				}
			}
			if tc.do != nil {
				if err := tc.do(file, unit); err != nil {
					t.Fatal(err)
				}
			}
			found := checkFirewall(file, tc.filter, unit, "unit", tc.enabled)
			if tc.subject == "" {
				if len(found) != 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) != 1 || found[0].Code != "firewall-not-at-boot" || found[0].Subject != filepath.Join(dir, tc.subject) || !strings.Contains(found[0].Message, tc.says) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

// What the filter should say is noted, and stays noted when a set-up does not know how the machine is reached.
func TestFilterIsNoted(t *testing.T) {
	spec := Spec{Program: "/opt/pressenter/x/pressenter", Role: "sentry", SSH: []uint16{22}, Tunnel: 51820}
	text, err := firewallText(spec)
	if err != nil || text == "" {
		t.Fatalf("%q, %v", text, err)
	}
	r := Record{}.next(spec)
	if r.Filter != text {
		t.Errorf("noted is %q", r.Filter)
	}
	other := spec
	other.Open = []uint16{26656}
	if n := r.next(other); n.Filter == text || equal(n, r) {
		t.Error("another filter is not noted")
	}
	other.SSH = nil
	if n := r.next(other); n.Filter != text {
		t.Errorf("of a set-up that leaves the filter alone is noted %q", n.Filter)
	}
}
