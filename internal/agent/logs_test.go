package agent

import (
	"os"
	"testing"

	"github.com/pressenter/pressenter/internal/process"
)

// The agent keeps its own log and the mesh's short; the others are the supervisor's, which has them open.
func TestLogsStayShort(t *testing.T) {
	k := newKeeper(t)
	for _, name := range []string{"agent", "mesh", "supervisor", "node"} {
		path, err := k.Folder.Log(name)
		must(t, err)
		must(t, os.WriteFile(path, []byte(name), 0o600))
		must(t, os.Truncate(path, process.LogMax+1))
	}
	k.rotateLogs()
	k.rotateLogs()
	for name, want := range map[string]bool{"agent": true, "mesh": true, "supervisor": false, "node": false} {
		path, err := k.Folder.Log(name)
		must(t, err)
		info, err := os.Stat(path)
		must(t, err)
		kept, _ := os.Stat(path + ".1") //nolint:errcheck // there is none where it is not wanted
		if (info.Size() == 0) != want || (kept != nil && kept.Size() == process.LogMax+1) != want {
			t.Errorf("%s.log has %d bytes, and before it %v", name, info.Size(), kept)
		}
	}
}
