package remote_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/lab"
)

// refused expects that a host cannot be set up, with words that say why.
func (k *keeper) refused(t *testing.T, h *lab.Host, want ...string) {
	t.Helper()
	err := k.StartAgent(t.Context(), sentry(h))
	if err == nil {
		t.Fatal("it was set up")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in %q", w, err)
		}
	}
	if there := in(t, h, "ls -d /opt/pressenter 2>/dev/null || :"); there != "" {
		t.Errorf("a server that was refused has %s", there)
	}
}

// TestServersRefused has servers that cannot be hosts refused before anything is changed there.
func TestServersRefused(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1})
	h := k.lab.Host("h1")
	for name, test := range map[string]struct{ before, after, want string }{
		"wrong processor": {
			`mv /usr/bin/uname /usr/bin/uname.real; printf '#!/bin/sh\necho Linux riscv64\n' >/usr/bin/uname; chmod +x /usr/bin/uname`,
			"mv /usr/bin/uname.real /usr/bin/uname", `its processor is "riscv64", and only x86_64 and aarch64 are supported`,
		},
		"processor of another build": {
			`mv /usr/bin/uname /usr/bin/uname.real; printf '#!/bin/sh\n[ "$(/usr/bin/uname.real -m)" = x86_64 ] && echo Linux aarch64 || echo Linux x86_64\n' >/usr/bin/uname; chmod +x /usr/bin/uname`,
			"mv /usr/bin/uname.real /usr/bin/uname", "use a build for that processor",
		},
		"old release": {
			"cp /etc/os-release /etc/os-release.real; sed -i 's/^VERSION_ID=.*/VERSION_ID=10/; s/^PRETTY_NAME=.*/PRETTY_NAME=\"Debian 10\"/' /etc/os-release",
			"cp /etc/os-release.real /etc/os-release", "it runs Debian 10, and only Debian 12 and 13",
		},
		"port taken": {
			"systemd-run --quiet --unit=squatter perl -MIO::Socket::INET -e '@s = IO::Socket::INET->new(LocalPort => 26656, Listen => 1) or die; system q(touch /run/squats); sleep'; until [ -e /run/squats ]; do sleep 0.1; done",
			"systemctl stop squatter", "port 26656/tcp is taken by perl",
		},
		"a signer": {
			"cp /usr/bin/perl /usr/local/bin/gaiad; cd /tmp; printf 'sleep' >start; systemd-run --quiet --unit=gaiad --working-directory=/tmp /usr/local/bin/gaiad start; until [ \"$(systemctl is-active gaiad)\" = active ]; do sleep 0.1; done",
			"systemctl stop gaiad", "a chain's daemon or signer runs there already (/usr/local/bin/gaiad)",
		},
		"another deployment's": {
			`mkdir -p /var/lib/pressenter/agent; printf '{"enrollment":{"deployment":"theirs","name":"s9"}}' >/var/lib/pressenter/agent/host.json`,
			"rm -r /var/lib/pressenter", `it is a host of the deployment "theirs" already`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, h, test.before)
			k.refused(t, h, test.want)
			in(t, h, test.after)
		})
	}
	t.Run("another host key", func(t *testing.T) {
		if err := h.ChangeHostKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.Close() // the connection that there is does not ask
		k.refused(t, h, "the host key changed")
	})
}

func TestSudoWithPassword(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1, Login: lab.SudoPassword})
	k.refused(t, k.lab.Host("h1"), `sudo does not let user "admin" without a password`)
}

// TestDiskFull has a server that is full refused, and one that becomes full while the program comes say so, and go on
// once there is room.
func TestDiskFull(t *testing.T) {
	k := newKeeper(t, lab.Options{Hosts: 1, Disk: 512 << 20})
	h := k.lab.Host("h1")
	if err := h.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.refused(t, h, "its disk has 0 MiB free at /var/lib")
	if err := h.Empty(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var codes []string
	k.Found = func(_ string, found []health.Finding) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range found {
			codes = append(codes, f.Code)
		}
	}
	if err := k.StartAgent(t.Context(), sentry(h)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(codes, " "), "small-disk") {
		t.Errorf("found %q", codes)
	}
}

// TestHostLost switches servers off while they are set up, wherever that is just then. Once one is back, all is done.
func TestHostLost(t *testing.T) {
	moments := []struct{ name, reached string }{
		{"the program comes", "ls /opt/pressenter/*/*"},
		{"it is being set up", "ls /var/lib/pressenter"},
		{"it waits for a confirmation", "ls /etc/pressenter/trial"},
		{"it is done, or nearly", "systemctl is-active pressenter-agent"},
		{"somewhere in between", "test -e /etc/apt/apt.conf.d/60pressenter"},
	}
	k := newKeeper(t, lab.Options{Hosts: len(moments)})
	for i, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			k.loses(t, k.lab.Hosts()[i], m.reached)
		})
	}
}

// loses switches a server off once a script says that the moment of its set-up is reached.
func (k *keeper) loses(t *testing.T, h *lab.Host, reached string) {
	t.Helper()
	lost := make(chan error, 1)
	go func() {
		if _, err := h.Exec(t.Context(), "sh", "-c", "until "+reached+" >/dev/null 2>&1; do sleep 0.01; done"); err != nil {
			lost <- err
			return
		}
		lost <- h.Stop()
	}()
	first := k.StartAgent(t.Context(), sentry(h))
	if err := <-lost; err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.StartAgent(t.Context(), sentry(h)); err != nil {
		t.Fatalf("lost (%v), and then: %v", first, err)
	}
	expectDoors(t, h, "once it is back", shut)
}
