package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/takeover"
)

// TestTakenIsOwned: a machine on which a daemon was taken over, and of which no host is enrolled, is somebody's.
func TestTakenIsOwned(t *testing.T) {
	mine := machine.Whose{Deployment: "mine", Host: "validator"}
	for name, tt := range map[string]struct {
		phase            takeover.Phase
		deployment, host string
		role, volume     string
		owned, end, set  bool
	}{
		"nobody's":            {owned: true, end: true, set: true},
		"its own":             {phase: takeover.Done, deployment: "mine", host: "validator", owned: true, end: true, set: true},
		"half":                {phase: takeover.Silencing, deployment: "mine", host: "validator", owned: true},
		"half, and too late":  {phase: takeover.Moving, deployment: "mine", host: "validator", owned: true},
		"being undone":        {phase: takeover.Undoing, deployment: "mine", host: "validator", owned: true},
		"of another":          {phase: takeover.Done, deployment: "theirs", host: "validator"},
		"of another host":     {phase: takeover.Done, deployment: "mine", host: "v2"},
		"to become a sentry":  {phase: takeover.Done, deployment: "mine", host: "validator", role: "sentry", owned: true, end: true},
		"to go onto a volume": {phase: takeover.Done, deployment: "mine", host: "validator", volume: "/dev/x", owned: true, end: true},
	} {
		t.Run(name, func(t *testing.T) {
			folder := agent.Folder(t.TempDir())
			if tt.phase != takeover.None {
				b, err := json.Marshal(map[string]any{"phase": tt.phase, "order": takeover.Order{Deployment: tt.deployment, Host: tt.host, Unit: "cosmos.service"}})
				if err != nil {
					t.Fatal(err)
				}
				if err := os.MkdirAll(filepath.Join(string(folder), "agent"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(string(folder), "agent", "takeover.json"), b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			role := tt.role
			if role == "" {
				role = "validator"
			}
			spec := machine.Spec{Deployment: mine.Deployment, Host: mine.Host, Role: role, Volume: tt.volume}
			for what, got := range map[string]struct {
				err error
				ok  bool
			}{"is owned": {owned(folder, mine), tt.owned}, "may end": {mayEnd(folder, mine), tt.end}, "may be set up": {maySetUp(folder, spec), tt.set}} {
				if (got.err == nil) != got.ok {
					t.Errorf("%s: %v", what, got.err)
				}
			}
		})
	}
}
