package agent

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// A copied folder has the lock files of its original, which name processes that live: they are not the copy's, and
// must not be stopped for it.
func TestCopyIsNotItsOriginal(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	alive, err := process.Of(cmd.Process.Pid)
	must(t, err)
	f := Folder(t.TempDir())
	locks := []string{supervisor.SupervisorLock, supervisor.HomeLock, filepath.Base(f.lock())}
	for _, name := range locks {
		l, err := process.TryLock(f.path(name), "the original")
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		must(t, l.Record(process.Holder{Name: "the original", Process: alive, Note: json.RawMessage(`{"x":1}`)}))
		if id, up := holder(f.path(name)); !up || id != alive {
			t.Errorf("%s: holder %v, %v", name, id, up)
		}
	}
	to := Folder(filepath.Join(t.TempDir(), "copy"))
	must(t, os.CopyFS(string(to), os.DirFS(string(f))))
	c := &children{folder: to}
	if id, up := c.Supervisor(); up {
		t.Errorf("supervisor %v", id)
	}
	if id, up := c.Daemon(); up {
		t.Errorf("daemon %v", id)
	}
	if id, up := AgentOf(to); up {
		t.Errorf("agent %v", id)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if !alive.Alive() {
		t.Error("stopping the copy ended the original")
	}
}
