package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressenter/pressenter/internal/health"
)

// TestCheckTaken: a unit from which a node was taken over is told of once nothing keeps it from starting.
func TestCheckTaken(t *testing.T) {
	dir := t.TempDir()
	journal := filepath.Join(dir, "takeover.json")
	if found := checkTaken(t.Context(), journal); found != nil {
		t.Errorf("of a host that was never taken over: %+v", found)
	}
	if err := os.WriteFile(journal, []byte(`{"phase":"done","order":{"unit":"cosmos.service"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for load, told := range map[string]bool{"masked": false, "loaded": true, "not-found": true} {
		says := fmt.Sprintf("#!/bin/sh\nprintf 'Id=cosmos.service\\nLoadState=%s\\nActiveState=inactive\\n'\n", load)
		if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(says), 0o700); err != nil {
			t.Fatal(err)
		}
		found := checkTaken(t.Context(), journal)
		if (len(found) == 1 && found[0].Severity == health.Critical) != told || len(found) > 1 {
			t.Errorf("%s: %+v", load, found)
		}
	}
}
