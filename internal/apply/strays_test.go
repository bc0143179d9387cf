package apply

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/roster"
)

// TestAdoptStrays: a host that is there is never invisible because the inventory is lost; what is no host is left alone.
func TestAdoptStrays(t *testing.T) {
	dir := deployment.Dir(t.TempDir())
	record := filepath.Join(dir.Hosts(), "validator", "agent", "host.json")
	empty := filepath.Join(dir.Hosts(), "mounted")
	for _, d := range []string{filepath.Dir(record), empty} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"enrollment": api.EnrollRequest{Name: "validator", Role: "validator", Deployment: "hub", ChainID: "c-1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, b, 0o600); err != nil {
		t.Fatal(err)
	}
	side, err := openSide(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, ok := side.inventory.Host("validator")
	if !ok || h.Role != roster.RoleValidator || side.inventory.Deployment != "hub" || len(side.inventory.Hosts) != 1 {
		t.Errorf("inventory %+v", side.inventory)
	}
	if err := removeEmpty(dir.Hosts()); err == nil {
		t.Error("a folder with a host in it was removed")
	}
	if _, err := os.Stat(record); err != nil {
		t.Errorf("the host did not survive: %v", err)
	}
}

// TestWitness: only the newest commit of others speaks, and only while the chain goes on.
func TestWitness(t *testing.T) {
	now := time.Now()
	ours := []string{"US"}
	for name, tc := range map[string]struct {
		commits []api.Commit
		want    bool
	}{
		"signed":                 {[]api.Commit{{Height: 9, Time: now, Signers: ours}}, true},
		"only a laggard says so": {[]api.Commit{{Height: 9, Time: now, Signers: ours}, {Height: 90, Time: now}}, false},
		"the chain stands still": {[]api.Commit{{Height: 9, Time: now.Add(-2 * fresh), Signers: ours}}, false},
		"nobody answers":         {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Session{Provider: local.Provider{}, world: &sideState{}}
			for i, c := range tc.commits {
				h := deployment.Host{Name: string(rune('a' + i)), Folder: t.TempDir()}
				s.world.inventory.Put(h)
				answerCommit(t, h.Folder, c)
			}
			if _, got := s.witness(context.Background(), "US"); got != tc.want {
				t.Errorf("found %v, want %v", got, tc.want)
			}
		})
	}
}

func answerCommit(t *testing.T, folder string, c api.Commit) {
	t.Helper()
	l, err := api.ListenIn(folder, api.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(c) })}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}
