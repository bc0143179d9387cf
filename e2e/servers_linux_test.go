package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/lab"
)

// servers is a network whose own hosts are the hosts of a lab: the first holds the validator.
type servers struct {
	*network
	lab   *lab.Lab
	hosts map[string]*lab.Host // by the deployment's names
}

// onServers makes a network on bare servers, with as many sentries as there are more of them. Nothing is applied.
func onServers(t *testing.T, o lab.Options) *servers {
	t.Helper()
	need(t)
	l := lab.New(t, o)
	n := folderFor(t, t.TempDir(), "servers")
	t.Cleanup(func() { n.end(t) })
	// The operator's own SSH knows the way, as it does for whoever has servers.
	dir := filepath.Join(n.home(), ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(l.SSHConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), known, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &servers{network: n, lab: l, hosts: map[string]*lab.Host{}}
	d := config.Practice("servers")
	d.Provider, d.Sentries = config.ProviderSSH, nil
	for i, h := range l.Hosts() {
		if i == 0 {
			d.Validator.Address, s.hosts["validator"] = h.Name, h
			continue
		}
		sentry := config.Sentry{Name: fmt.Sprintf("s%d", i), Machine: config.Machine{Address: h.Name}}
		d.Sentries, s.hosts[sentry.Name] = append(d.Sentries, sentry), h
	}
	s.write(t, d)
	return s
}

// write replaces the config.
func (s *servers) write(t *testing.T, d config.Deployment) {
	t.Helper()
	b, err := config.Render(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.yaml(), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// witnessed is the newest height at which the world's validators hold a signature of ours.
func (s *servers) witnessed(t *testing.T) (int64, error) {
	t.Helper()
	said := s.runs(t, "status", "--json")
	var st struct {
		Validator struct {
			Witnessed int64 `json:"witnessed"`
		} `json:"validator"`
	}
	if err := json.Unmarshal([]byte(said.out), &st); err != nil {
		return 0, fmt.Errorf("%w: %v", err, said)
	}
	if st.Validator.Witnessed == 0 {
		return 0, fmt.Errorf("the validator does not sign: %v", said)
	}
	return st.Validator.Witnessed, nil
}

// goesOn waits for a signature that is made from now on. The one after the newest may have been made already, and not be in
// a block yet.
func (s *servers) goesOn(t *testing.T) {
	t.Helper()
	var first int64
	eventually(t, "a signature of the validator that is made from now on", func() error {
		at, err := s.witnessed(t)
		switch {
		case err != nil:
			return err
		case first == 0:
			first = at
			fallthrough
		case at <= first+1:
			return fmt.Errorf("the newest is of height %d, after %d", at, first)
		}
		return nil
	})
}

// killedWhilePushing kills an apply while half of its program is on a server, and returns what checks that the next one made it
// whole.
func (s *servers) killedWhilePushing(t *testing.T, name string) (check func()) {
	t.Helper()
	in := func(script string) string {
		t.Helper()
		out, err := s.hosts[name].Exec(t.Context(), "sh", "-ec", script)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	// What unpacks there stops after some of it.
	in(`printf '#!/bin/sh\n/usr/bin/gzip "$@" | head -c 5000000; touch /run/half; exec sleep 1000\n' >/usr/local/bin/gzip; chmod +x /usr/local/bin/gzip`)
	c := s.command("apply", "--yes")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	defer func() { _ = c.Process.Kill() }()
	eventually(t, "half a program", func() error {
		_, err := s.hosts[name].Exec(t.Context(), "test", "-e", "/run/half")
		return err
	})
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	in("rm /usr/local/bin/gzip; pkill -x sleep || :")
	if got := in("cd /opt/pressenter/*; stat -c '%n %s' *"); got != "pressenter.part 5000000" {
		t.Errorf("after a kill there is %q", got)
	}
	return func() {
		t.Helper()
		if got := in(`cd /opt/pressenter/*/; ls; sha256sum pressenter | cut -c 1-16; basename "$PWD"`); !whole(got) {
			t.Errorf("after the next apply there is %q", got)
		}
	}
}

// whole says whether a listing has a whole program of the hash that its folder is named for, and nothing else.
func whole(said string) bool {
	words := strings.Fields(said)
	return len(words) == 3 && words[0] == "pressenter" && words[1] == words[2]
}

// isCutOff takes names and packages away from a server, and what keeps its clock.
func (s *servers) isCutOff(t *testing.T, name string) {
	t.Helper()
	h := s.hosts[name]
	if _, err := h.Exec(t.Context(), "dpkg", "--purge", "systemd-timesyncd"); err != nil {
		t.Fatal(err)
	}
	if err := h.Block(t.Context(), lab.DNS, lab.APT); err != nil {
		t.Fatal(err)
	}
}

// TestServers takes bare servers to a validator that signs behind its sentries, and through what happens to servers.
func TestServers(t *testing.T) {
	s := onServers(t, lab.Options{Hosts: 3})
	called := commandLines(t)
	pushed := s.killedWhilePushing(t, "s2")
	s.isCutOff(t, "s1")
	said := s.does(t, "apply", "--yes")
	if !said.has("is signed by validator") {
		t.Errorf("nothing about a signature in\n%v", said)
	}
	pushed()
	if !said.has("s1: Nothing sets the clock of this machine", "names cannot be looked up") {
		t.Errorf("nothing about a server without names and packages in\n%v", said)
	}
	if err := s.hosts["s1"].Unblock(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.noChanges(t)
	s.goesOn(t)

	t.Run("nobody finds the validator", s.hidesTheValidator)
	t.Run("commands on a server", s.takesCommands)
	t.Run("a server reboots", s.reboots)
	t.Run("a sentry loses power", s.losesASentry)
	t.Run("secrets are nowhere else", func(t *testing.T) { s.keepsSecrets(t, called) })
	t.Run("destroy", s.isDestroyed)
}

// hidesTheValidator: nobody finds it. Its server answers at no port, and no sentry has its address.
func (s *servers) hidesTheValidator(t *testing.T) {
	for _, port := range []string{"26656", "26657", "51820", "51821", "443"} {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(s.hosts["validator"].Address, port), time.Second)
		if err == nil {
			c.Close()
			t.Errorf("port %s of the validator's server answers", port)
		}
	}
	for _, name := range []string{"s1", "s2"} {
		// Its address is nowhere on a sentry but in the kernel, while they talk.
		found, err := s.hosts[name].Exec(t.Context(), "sh", "-c", "grep -rlaF "+s.hosts["validator"].Address+" /var/lib/pressenter /var/log 2>/dev/null || :")
		if err != nil {
			t.Fatal(err)
		}
		if files := strings.TrimSpace(string(found)); files != "" {
			t.Errorf("the validator's address is on %s in\n%s", name, files)
		}
	}
}

// takesCommands: commands run on a server, and say how they ended.
func (s *servers) takesCommands(t *testing.T) {
	if said := s.does(t, "exec", "s1", "--root", "--", "cat", "/proc/1/comm"); !said.has("systemd") {
		t.Errorf("%v", said)
	}
	if said := s.runs(t, "ssh", "s1", "--", "sh", "-c", "echo out; echo err >&2; exit 7"); said.code != 7 || !said.has("out") || !said.has("err") {
		t.Errorf("%v", said)
	}
	if said := s.does(t, "logs", "s1", "--lines", "5"); !said.has("height") {
		t.Errorf("%v", said)
	}
	if said := s.does(t, "harden"); !said.has("s1 is as it should be") || !said.has("validator is as it should be") {
		t.Errorf("%v", said)
	}
	if said := s.does(t, "open-ssh", "s1"); !said.has("systemctl restart ssh") {
		t.Errorf("%v", said)
	}
}

// reboots: a validator goes on after a reboot.
func (s *servers) reboots(t *testing.T) {
	if err := s.hosts["validator"].Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.goesOn(t)
	s.noChanges(t)
}

// losesASentry: a validator goes on without one of its sentries, which comes back.
func (s *servers) losesASentry(t *testing.T) {
	if err := s.hosts["s1"].Stop(); err != nil {
		t.Fatal(err)
	}
	s.goesOn(t)
	s.refuses(t, []string{"s1 cannot be reached"}, "plan")
	if err := s.hosts["s1"].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.hosts["s1"].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing to do", func() error {
		if said := s.runs(t, "plan", "--detailed-exitcode"); said.code != 0 {
			return fmt.Errorf("%v", said)
		}
		return nil
	})
}

// keepsSecrets: secrets are where they are kept, and nowhere else.
func (s *servers) keepsSecrets(t *testing.T, before func() []byte) {
	t.Helper()
	lists := before()
	passphrase := s.hasPassphrase(t) // ssh-keygen takes it as an argument
	called := commandLines(t)
	if said := s.asked(t, passphrase, "exec", "s1", "--", "echo", "came in"); !strings.Contains(said, "came in") {
		t.Errorf("with a key that has a passphrase: %s", said)
	}
	s.runs(t, "status", "--json")
	s.runs(t, "plan", "--json")
	all := append(s.secretsOf(t, s.hosts), textSecret("the SSH key's passphrase", "", passphrase))
	s.noLeaks(t, all, s.hosts, map[string][]byte{"process lists": append(lists, called()...)})
}

// isDestroyed: a destroy leaves nothing on the servers.
func (s *servers) isDestroyed(t *testing.T) {
	s.does(t, "destroy", "--name", "servers")
	for name, h := range s.hosts {
		left, err := h.Exec(t.Context(), "sh", "-c", "ls -d /var/lib/pressenter /opt/pressenter /etc/systemd/system/pressenter* 2>/dev/null; pgrep -l 'pressenter|practiced'; nft list tables | grep pressenter; :")
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("left on %s:\n%s", name, left)
		}
	}
}
