package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What undoes a trial can be killed after each of its lines and run again.
func TestUndoIsKilled(t *testing.T) {
	lines := strings.Count(undoScript([]changedFile{{path: "/a"}, {path: "/b"}}, []bool{true, false}), "\n")
	for killed := range lines + 1 {
		dir := t.TempDir()
		trial := filepath.Join(dir, "trial")
		was, newer := filepath.Join(dir, "was"), filepath.Join(dir, "newer")
		for path, text := range map[string]string{was: "on trial", newer: "on trial", filepath.Join(trial, "0"): "proven", filepath.Join(trial, "undoing"): ""} {
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		script := undoScript([]changedFile{{path: was}, {path: newer}}, []bool{true, false})
		// The machine's own programs are not for this test.
		script = "systemctl() { :; }; nft() { :; }; sync() { :; }\n" + script
		first := strings.Join(strings.SplitAfter(script, "\n")[:killed+1], "")
		for _, s := range []string{first, script} {
			cmd := exec.Command("sh")
			cmd.Dir, cmd.Stdin = trial, strings.NewReader(s)
			_ = cmd.Run() // the second time what it ends with may be done
		}
		b, err := os.ReadFile(was)
		if err != nil || string(b) != "proven" {
			t.Errorf("killed after %d lines: the former file says %q, %v", killed, b, err)
		}
		if _, err := os.Stat(newer); err == nil {
			t.Errorf("killed after %d lines: the new file is there", killed)
		}
		if _, err := os.Stat(filepath.Join(trial, "undone")); err != nil {
			t.Errorf("killed after %d lines: %v", killed, err)
		}
	}
}
