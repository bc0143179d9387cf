package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pressenter/pressenter/internal/config"
)

// opensSSH narrows who may log in to bought machines, and lets somebody else in for a time: until Ctrl-C, and until the
// next apply where the command was killed.
func (s *servers) opensSSH(t *testing.T, d config.Deployment) {
	const stranger = "198.51.100.77"
	cloud := ""
	for _, v := range s.env {
		if at, is := strings.CutPrefix(v, "TF_CLI_CONFIG_FILE="); is {
			cloud = filepath.Join(filepath.Dir(at), "cloud", "cloud.json")
		}
	}
	letIn := func(want bool, when string) {
		t.Helper()
		b, err := os.ReadFile(cloud)
		if err != nil {
			t.Fatal(err)
		}
		var world struct {
			Objects map[string]map[string]struct{ Values json.RawMessage }
		}
		if err := json.Unmarshal(b, &world); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, objects := range world.Objects {
			for _, o := range objects {
				found = found || strings.Contains(string(o.Values), stranger)
			}
		}
		if found != want {
			t.Errorf("%s: the clouds let the stranger in: %v, want %v", when, found, want)
		}
	}
	d.Admin.CIDRs = []string{s.lab.Network.String()}
	s.write(t, d)
	s.does(t, "apply", "--yes")
	s.noChanges(t)

	s.opened(t, stranger, syscall.SIGINT, letIn)
	letIn(false, "after Ctrl-C")

	s.opened(t, stranger, syscall.SIGKILL, letIn)
	if said := s.does(t, "plan"); !said.has("no changes", "SSH is let in from "+stranger+"/32, too, until") {
		t.Errorf("while it is open: %v", said)
	}
	letIn(true, "after a kill")
	inventory := filepath.Join(s.dir, ".pressenter", "operator", "inventory.json")
	b, err := os.ReadFile(inventory)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`"until": "[0-9]{4}`).ReplaceAll(b, []byte(`"until": "2001`)) // its time is over
	if err := os.WriteFile(inventory, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := s.does(t, "plan"); !said.has("update firewall", "nobody shut it again: apply takes it back") {
		t.Errorf("when its time is over: %v", said)
	}
	s.does(t, "apply", "--yes")
	letIn(false, "after an apply")
	s.noChanges(t)
}

// opened lets somebody in, and ends the command by a signal once that is done.
func (s *servers) opened(t *testing.T, from string, end syscall.Signal, letIn func(bool, string)) {
	t.Helper()
	c := s.command("open-ssh", "s1", "--from", from, "--for", "10m")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "leave this running") {
			letIn(true, "while the command runs")
			_ = c.Process.Signal(end)
		}
	}
	err = c.Wait()
	if !strings.Contains(said.String(), "s1 takes SSH") || (end == syscall.SIGINT) != (err == nil && strings.Contains(said.String(), "no more")) {
		t.Errorf("ended with %v: %v, it said\n%s", end, err, said.String())
	}
}
