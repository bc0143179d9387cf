package remote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/lab"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/remote"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/ssh"
)

// keeper keeps a lab's servers with a program that was built for this test.
type keeper struct {
	*remote.Provider
	t   *testing.T
	lab *lab.Lab
}

func newKeeper(t *testing.T, o lab.Options) *keeper {
	t.Helper()
	if testing.Short() {
		t.Skip("servers take seconds each; left out by -short")
	}
	t.Parallel() // they mostly wait
	l := lab.New(t, o)
	b, err := lab.Program()
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "pressenter")
	if err := os.WriteFile(exe, b, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &remote.Provider{Exe: exe, Deployment: "doors", Dialer: dialer(t, l)}
	t.Cleanup(p.Close)
	return &keeper{Provider: p, t: t, lab: l}
}

func dialer(t *testing.T, l *lab.Lab) *ssh.Dialer {
	t.Helper()
	b, err := os.ReadFile(l.SSHConfig)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config") // nothing in it knows a host's key
	text := strings.ReplaceAll(string(b), "UserKnownHostsFile "+filepath.Join(l.Folder, "known_hosts"), "UserKnownHostsFile /dev/null")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &ssh.Dialer{
		Pins: filepath.Join(dir, "pins"), ConfigFile: config, Agent: ssh.NoFile,
		OnFirstContact: func(context.Context, ssh.Contact) error { return nil },
	}
}

func sentry(h *lab.Host) deployment.Host {
	return deployment.Host{
		Name: h.Name, Role: roster.RoleSentry, Address: h.Name,
		Listen: api.Listen{P2P: "[::]:26656", Mesh: "[::]:51820", Machine: true},
	}
}

// in runs a script in a host.
func in(t *testing.T, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Exec(t.Context(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// comesIn logs in by a new connection and runs a command.
func (k *keeper) comesIn(h *lab.Host, sudo bool, stdin string, args ...string) (string, error) {
	k.t.Helper()
	target, err := ssh.ParseTarget(h.Name)
	if err != nil {
		k.t.Fatal(err)
	}
	d := k.Dialer
	c, err := d.Dial(k.t.Context(), target)
	if err != nil {
		return "", err
	}
	defer c.Close()
	var out bytes.Buffer
	err = c.Run(k.t.Context(), ssh.Command{Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Sudo: sudo})
	return strings.TrimSpace(out.String()), err
}

// setUpOnly sets a machine up and does not confirm.
func (k *keeper) setUpOnly(h *lab.Host) machine.Report {
	k.t.Helper()
	if err := k.Create(k.t.Context(), sentry(h)); err != nil {
		k.t.Fatal(err)
	}
	program := in(k.t, h, "ls /opt/pressenter/*/pressenter | head -n 1")
	spec, err := json.Marshal(machine.Spec{Program: program, Deployment: "doors", Host: h.Name, Role: "sentry", Open: []uint16{26656}, Tunnel: 51820})
	if err != nil {
		k.t.Fatal(err)
	}
	said, err := k.comesIn(h, true, string(spec), program, "host", "setup")
	if err != nil {
		k.t.Fatal(err)
	}
	var r machine.Report
	if err := json.Unmarshal([]byte(said), &r); err != nil {
		k.t.Fatal(err)
	}
	return r
}

// doors are the files that say who comes in, and the filter in the kernel; "open" where there is none.
const doors = `ls /etc/ssh/sshd_config.d /etc/pressenter 2>/dev/null | grep -v ':$' | grep . | sort | tr '\n' ' '
sshd -T | grep -E '^(passwordauthentication|permitrootlogin)' | sort | tr '\n' ' '
nft list table inet pressenter_underlay >/dev/null 2>&1 && echo filtered || echo open`

const (
	shut = "10-pressenter.conf firewall.nft passwordauthentication no permitrootlogin without-password filtered"
	open = "passwordauthentication yes permitrootlogin without-password open"
)

func expectDoors(t *testing.T, h *lab.Host, when, want string) {
	t.Helper()
	if got := in(t, h, doors); got != want {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}

// TestDoors hardens servers, and has what nobody confirmed taken back.
func TestDoors(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1, Login: lab.Sudo})
	h := k.lab.Host("h1")
	expectDoors(t, h, "in the beginning", open)

	t.Run("nobody confirms, and the server reboots", func(t *testing.T) {
		if r := k.setUpOnly(h); !r.Trial {
			t.Fatalf("nothing is on trial: %+v", r)
		}
		if got := in(t, h, doors); !strings.HasSuffix(got, "filtered") || !strings.Contains(got, "trial") {
			t.Errorf("on trial: %q", got)
		}
		if err := h.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectDoors(t, h, "after a reboot", strings.Replace(open, "pass", "trial pass", 1))
	})
	t.Run("nobody confirms in time", func(t *testing.T) {
		in(t, h, `mkdir -p /run/systemd/system/pressenter-trial.timer.d
			printf '[Timer]\nOnActiveSec=\nOnActiveSec=3s\n' >/run/systemd/system/pressenter-trial.timer.d/soon.conf; systemctl daemon-reload`)
		if r := k.setUpOnly(h); !r.Trial {
			t.Fatalf("nothing is on trial: %+v", r)
		}
		deadline := time.Now().Add(time.Minute)
		for strings.HasSuffix(in(t, h, doors), "filtered") || in(t, h, "ls /etc/pressenter/trial") == "undo" {
			if time.Now().After(deadline) {
				t.Fatal("it is not taken back")
			}
		}
		in(t, h, "until [ -e /etc/pressenter/trial/undone ]; do sleep 0.1; done; rm -r /run/systemd/system/pressenter-trial.timer.d; systemctl daemon-reload")
		expectDoors(t, h, "too late", strings.Replace(open, "pass", "trial pass", 1))
		program := in(t, h, "ls /opt/pressenter/*/pressenter | head -n 1")
		if _, err := k.comesIn(h, true, "{}", program, "host", "confirm"); err == nil || !strings.Contains(err.Error(), "confirmed too late") {
			t.Errorf("a late confirmation: %v", err)
		}
	})
	t.Run("confirmed", func(t *testing.T) {
		if err := k.StartAgent(t.Context(), sentry(h)); err != nil {
			t.Fatal(err)
		}
		expectDoors(t, h, "confirmed", shut)
		tends(t, h)
		in(t, h, "systemctl disable --quiet pressenter-firewall; until [ \"$(systemctl is-enabled pressenter-firewall)\" = enabled ]; do sleep 0.1; done")
		in(t, h, "cd /usr/local/lib/systemd/system; rm pressenter-firewall.service; until [ -e pressenter-firewall.service ]; do sleep 0.1; done")
		if r := k.setUpOnly(h); r.Trial || len(r.Changed) != 0 {
			t.Errorf("the second time there is something to do: %+v", r)
		}
		in(t, h, "systemctl disable --now pressenter-agent")
		if err := h.Reboot(t.Context()); err != nil {
			t.Fatal(err)
		}
		expectDoors(t, h, "after a reboot, without an agent", shut)
		if order := in(t, h, "systemctl show -p Before --value pressenter-firewall"); !strings.Contains(order, "network-pre.target") {
			t.Errorf("the filter is loaded before %s", order)
		}
		if _, err := k.comesIn(h, false, "", "true"); err != nil {
			t.Error(err)
		}
	})
	t.Run("removed", func(t *testing.T) {
		if err := k.Destroy(t.Context(), sentry(h), ""); err != nil {
			t.Fatal(err)
		}
		expectDoors(t, h, "removed", open)
		if left := in(t, h, "find /etc /usr/local -name '*pressenter*' ! -path /etc/sysusers.d/pressenter.conf"); left != "" {
			t.Errorf("it left %s", left)
		}
	})
}

// tends looks at what a server does by itself.
func tends(t *testing.T, h *lab.Host) {
	t.Helper()
	for script, want := range map[string]string{
		"systemd-analyze cat-config systemd/journald.conf | grep -c ^SystemMaxUse=1G":                                                         "1",
		"apt-config shell r Unattended-Upgrade::Automatic-Reboot u APT::Periodic::Unattended-Upgrade":                                         "r='false'\nu='1'",
		`unattended-upgrade --dry-run --debug 2>&1 | grep '^Allowed origins' | tr ',' '\n' | grep -o 'label=[A-Za-z-]*' | sort | tr '\n' ' '`: "label=Debian-Security label=Ubuntu label=UbuntuESM label=UbuntuESMApps",
		"systemctl show -p TimersCalendar --value apt-daily-upgrade.timer | grep -c OnCalendar":                                               "1",
		"perl -e 'our %nrconf; do \"/etc/needrestart/conf.d/pressenter.conf\" or die; print join \",\", %{$nrconf{override_rc}}'":             "(?^:^pressenter-),0",
	} {
		if got := in(t, h, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
}

// TestPackages has a server without a clock set up where names, or packages, cannot be had: it is set up, and told which.
func TestPackages(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1})
	h := k.lab.Host("h1")
	in(t, h, "dpkg --purge systemd-timesyncd")
	for _, test := range []struct {
		name    string
		blocked []lab.Service
		want    string
	}{
		{"names cannot be looked up", []lab.Service{lab.DNS, lab.APT}, "names cannot be looked up"},
		{"the mirror is away", []lab.Service{lab.APT}, "the package mirror deb.debian.org does not answer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := h.Block(t.Context(), test.blocked...); err != nil {
				t.Fatal(err)
			}
			found := ""
			for _, f := range k.setUpOnly(h).Findings {
				if f.Code == "package-missing" && f.Subject == "systemd-timesyncd" {
					found = f.Message
				}
			}
			if !strings.Contains(found, test.want) {
				t.Errorf("it is said: %q, want %q", found, test.want)
			}
		})
	}
	t.Run("and then they can", func(t *testing.T) {
		if err := h.Unblock(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.setUpOnly(h)
		if state := in(t, h, "systemctl is-enabled systemd-timesyncd"); state != "enabled" {
			t.Errorf("the clock's keeper is %s", state)
		}
	})
}

// TestDoorsLeft leaves alone what cannot be changed safely, and says why.
func TestDoorsLeft(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1})
	h := k.lab.Host("h1")
	if at, err := k.SeenFrom(t.Context(), sentry(h)); err != nil || !k.lab.Network.Contains(at) {
		t.Errorf("it sees us come from %v (%v), and not from within %v", at, err, k.lab.Network)
	}
	for _, test := range []struct{ name, before, after, code string }{
		{
			"no drop-ins are read", "sed -i s/^Include/#Include/ /etc/ssh/sshd_config", "sed -i s/^#Include/Include/ /etc/ssh/sshd_config", "ssh-no-include",
		},
		{
			"its configuration is broken", "echo Nonsense yes >/etc/ssh/sshd_config.d/99.conf", "rm /etc/ssh/sshd_config.d/99.conf", "ssh-broken",
		},
		{"a file before ours says otherwise", "echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/01.conf", "rm /etc/ssh/sshd_config.d/01.conf", "ssh-overruled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, h, test.before)
			r := k.setUpOnly(h)
			if test.code == "ssh-overruled" { // it is seen once ours is there
				r = k.setUpOnly(h)
			}
			in(t, h, test.after)
			found := false
			for _, f := range r.Findings {
				found = found || f.Code == test.code && f.Next != ""
			}
			if !found {
				t.Errorf("no %s in %+v", test.code, r.Findings)
			}
			if _, err := k.comesIn(h, false, "", "true"); err != nil {
				t.Error(err)
			}
		})
	}
}
