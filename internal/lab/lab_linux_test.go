package lab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/lab"
)

// start begins a lab for a test that has the time.
func start(t *testing.T, o lab.Options) *lab.Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("servers take seconds each; left out by -short")
	}
	return lab.New(t, o)
}

// ssh runs a command in a host as its people do, with the real client. Nothing may be asked, and what does not answer
// is given up.
func ssh(l *lab.Lab, h *lab.Host, args ...string) (string, error) {
	options := []string{"-F", l.SSHConfig, "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", h.Name, "--"}
	out, err := exec.Command("ssh", append(options, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// run runs a command in a host out of band.
func run(t *testing.T, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Exec(t.Context(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestBareServer goes through the life of a host.
func TestBareServer(t *testing.T) {
	l := start(t, lab.Options{Hosts: 1})
	h := l.Host("h1")

	t.Run("everything is up, and its own", func(t *testing.T) {
		want := "running / h1 / 0 failed / pid 1 is systemd"
		got := run(t, h, `echo "$(systemctl is-system-running) / $(hostname) / $(systemctl --failed --plain --no-legend |
			wc -l) failed / pid 1 is $(cat /proc/1/comm)"`)
		if got != want {
			t.Errorf("host says %q, want %q", got, want)
		}
	})
	t.Run("ssh", func(t *testing.T) {
		if out, err := ssh(l, h, "id -un; hostname"); err != nil || out != "root\nh1" {
			t.Errorf("ssh: %q, %v, want root at h1", out, err)
		}
	})
	t.Run("systemd logs and looks", func(t *testing.T) {
		run(t, h, "systemd-run --wait --collect --unit=speaks echo spoken word")
		if out := run(t, h, "journalctl --boot --unit=speaks --output=cat"); !strings.Contains(out, "spoken word") {
			t.Errorf("journal has %q", out)
		}
		run(t, h, "systemd-analyze security ssh.service && timedatectl && loginctl && hostnamectl && systemctl daemon-reload")
	})
	t.Run("a reboot keeps the disk and the key", func(t *testing.T) {
		key, before := h.HostKey(), run(t, h, "echo kept >/var/lib/mark; touch /run/gone; cat /proc/sys/kernel/random/boot_id /etc/machine-id")
		stays, err := h.Command(t.Context(), "sleep", "infinity")
		must(t, err)
		must(t, stays.Start())
		must(t, h.Reboot(t.Context()))
		if stays.Wait() == nil {
			t.Error("a command outlived the host it ran in")
		}
		if out := run(t, h, "cat /var/lib/mark; ls /run/gone 2>/dev/null || :"); out != "kept" {
			t.Errorf("after a reboot the disk has %q", out)
		}
		if out, err := ssh(l, h, "true"); err != nil || h.HostKey() != key {
			t.Errorf("ssh after a reboot: %q, %v", out, err)
		}
		_, id, _ := strings.Cut(before, "\n")
		if now := run(t, h, "cat /etc/machine-id"); now != id {
			t.Errorf("machine-id was %s, is %s", id, now)
		}
	})
	t.Run("a reboot from inside", func(t *testing.T) {
		ended := h.Ended()
		_, _ = ssh(l, h, "systemctl reboot") // the connection may break first
		<-ended
		must(t, h.Wait(t.Context()))
		if out, err := ssh(l, h, "true"); err != nil {
			t.Errorf("ssh: %q, %v", out, err)
		}
	})
	t.Run("a power cut keeps the disk", func(t *testing.T) {
		run(t, h, "echo again >/var/lib/mark; sync")
		must(t, h.Stop())
		if h.Running() {
			t.Error("it runs")
		}
		if _, err := h.Exec(t.Context(), "true"); err == nil {
			t.Error("Exec works on a host without power")
		}
		if c, err := net.DialTimeout("tcp", h.Address+":22", time.Second); err == nil {
			c.Close()
			t.Error("something listens at the address of a host without power")
		}
		must(t, h.Start(t.Context()))
		if out, err := ssh(l, h, "cat /var/lib/mark"); err != nil || out != "again" {
			t.Errorf("the disk has %q, %v", out, err)
		}
	})
	t.Run("a new host key is noticed", func(t *testing.T) {
		key := h.HostKey()
		old := copyOf(t, l.SSHConfig, filepath.Join(l.Folder, "known_hosts"))
		must(t, h.ChangeHostKey(t.Context()))
		if out, err := exec.Command("ssh", "-F", old, "-o", "BatchMode=yes", h.Name, "true").CombinedOutput(); err == nil ||
			!strings.Contains(string(out), "HOST IDENTIFICATION HAS CHANGED") {
			t.Errorf("ssh with the old key pinned: %s, %v", out, err)
		}
		if out, err := ssh(l, h, "true"); err != nil || h.HostKey() == key {
			t.Errorf("ssh with the new key pinned: %q, %v", out, err)
		}
	})
	t.Run("a replacement is somebody else", func(t *testing.T) {
		key, address, id := h.HostKey(), h.Address, run(t, h, "cat /etc/machine-id")
		must(t, h.Replace(t.Context()))
		if h.HostKey() == key || h.Address != address || run(t, h, "cat /etc/machine-id") == id {
			t.Errorf("key %s → %s, address %s → %s, machine-id was %s", key, h.HostKey(), address, h.Address, id)
		}
		if exists(h, "/var/lib/mark") {
			t.Error("it has the old disk")
		}
		if out, err := ssh(l, h, "true"); err != nil {
			t.Errorf("ssh: %q, %v", out, err)
		}
	})
	t.Run("removed", func(t *testing.T) {
		must(t, h.Remove())
		if l.Host("h1") != nil {
			t.Error("the lab still has it")
		}
	})
}

func exists(h *lab.Host, path string) bool {
	_, err := h.Exec(context.Background(), "test", "-e", path)
	return err == nil
}

// copyOf keeps what a person's client knows now, and returns the path of a configuration that uses it.
func copyOf(t *testing.T, config, known string) string {
	t.Helper()
	k, err := os.ReadFile(known)
	must(t, err)
	kept := filepath.Join(t.TempDir(), "known_hosts")
	must(t, os.WriteFile(kept, k, 0o600))
	c, err := os.ReadFile(config)
	must(t, err)
	path := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(c), known, kept)), 0o600))
	return path
}

// TestSandboxes shows that what units may be confined with works as on a real server.
func TestSandboxes(t *testing.T) {
	h := start(t, lab.Options{Hosts: 1}).Host("h1")
	unit := "systemd-run --quiet --wait --collect --pipe "
	for _, c := range []struct{ name, script, want string }{
		{
			"DynamicUser, ProtectSystem, StateDirectory",
			unit + "-p DynamicUser=yes -p ProtectSystem=strict -p StateDirectory=one -p PrivateTmp=yes -p PrivateDevices=yes " +
				"-p ProtectHome=yes -p ProtectProc=invisible -p ProtectKernelTunables=yes -p ProtectControlGroups=yes " +
				"-p ProtectClock=yes -p ProtectHostname=yes -p ProtectKernelLogs=yes -p ProtectKernelModules=yes " +
				"-p PrivateUsers=yes -p RestrictNamespaces=yes -p MemoryDenyWriteExecute=yes -p RestrictRealtime=yes " +
				"sh -c 'test $(id -u) != 0; touch /var/lib/one/a && ! touch /etc/a 2>/dev/null && ! ls /proc/1 2>/dev/null && echo confined'",
			"confined",
		},
		{"SystemCallFilter", unit + "-p SystemCallFilter=~mkdir -p SystemCallErrorNumber=EPERM " +
			"sh -c 'mkdir /tmp/never 2>/dev/null || echo refused'", "refused"},
		{"CAP_NET_ADMIN and the TUN device", unit + "-p User=daemon -p AmbientCapabilities=CAP_NET_ADMIN " +
			"-p CapabilityBoundingSet=CAP_NET_ADMIN -p DevicePolicy=closed -p DeviceAllow='/dev/net/tun rw' " +
			"ip tuntap add dev made mode tun; ip -brief link show made | cut -d' ' -f1", "made"},
		{"no TUN device where none is allowed", unit + "-p DevicePolicy=closed ip tuntap add dev not mode tun 2>/dev/null || echo refused", "refused"},
		{"IPAddressDeny", unit + "-p IPAddressDeny=any ping -c 1 -W 1 127.0.0.1 >/dev/null || echo refused", "refused"},
		{"nftables", "nft add table inet t && nft add chain inet t c '{ type filter hook input priority 0; }' && " +
			"nft add rule inet t c tcp dport 9 counter drop && nft list ruleset | grep -c 'dport 9'", "1"},
		{"parameters of the network", "sysctl -qw net.ipv4.ip_forward=1 && cat /proc/sys/net/ipv4/ip_forward", "1"},
		{"no other parameters", "sysctl -qw kernel.panic=1 2>/dev/null || echo refused", "refused"},
		{"not the clock", "date --set=+1minute 2>&1 >/dev/null | grep -o 'not permitted'", "not permitted"},
		{"not the clock by a unit", unit + "date --set=+1minute 2>&1 >/dev/null | grep -o 'not permitted'", "not permitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := run(t, h, c.script); got != c.want {
				t.Errorf("%s\n%q, want %q", c.script, got, c.want)
			}
		})
	}
}

func TestNetwork(t *testing.T) {
	l := start(t, lab.Options{Hosts: 2})
	one, two := l.Host("h1"), l.Host("h2")

	t.Run("hosts see each other over UDP", func(t *testing.T) {
		// systemd listens for the first datagram, and the unit it starts has it as its input.
		run(t, two, `cat >/etc/systemd/system/hear.socket <<END
[Socket]
ListenDatagram=0.0.0.0:4000
END
cat >/etc/systemd/system/hear.service <<END
[Service]
StandardInput=socket
ExecStart=/bin/sh -c 'dd bs=100 count=1 status=none >/run/heard.new; mv /run/heard.new /run/heard'
END
systemctl daemon-reload && systemctl start hear.socket`)
		if got := run(t, one, "bash -c 'echo hello >/dev/udp/"+two.Address+"/4000'; echo sent"); got != "sent" {
			t.Fatal(got)
		}
		if got := run(t, two, "timeout 20 sh -c 'until test -e /run/heard; do sleep 0.1; done'; cat /run/heard"); got != "hello" {
			t.Errorf("h2 heard %q", got)
		}
	})
	t.Run("a cut is silent, and heals", func(t *testing.T) {
		ping := "ping -c 1 -W 1 " + two.Address + " >/dev/null && echo yes || echo no"
		if got := run(t, one, ping); got != "yes" {
			t.Fatalf("before the cut: %q", got)
		}
		must(t, two.Cut())
		if got := run(t, one, ping); got != "no" {
			t.Errorf("in the cut: %q", got)
		}
		if got := run(t, two, "cat /sys/class/net/eth0/carrier"); got != "1" {
			t.Error("the host sees the cut at its device")
		}
		must(t, two.Reboot(t.Context()))
		if got := run(t, one, ping); got != "no" {
			t.Errorf("in the cut, after a reboot: %q", got)
		}
		must(t, two.Heal())
		if got := run(t, one, "ping -c 1 -w 10 "+two.Address+" >/dev/null && echo yes"); got != "yes" {
			t.Errorf("after the cut: %q", got)
		}
	})
	t.Run("services", func(t *testing.T) {
		must(t, one.Block(t.Context(), lab.SSH))
		if out, err := ssh(l, one, "true"); err == nil {
			t.Errorf("ssh while it is blocked: %q", out)
		}
		run(t, one, "ping -c 1 -w 5 "+l.Gateway)
		must(t, one.Unblock(t.Context()))
		if out, err := ssh(l, one, "true"); err != nil {
			t.Errorf("ssh when nothing is blocked: %q, %v", out, err)
		}
		reach := fmt.Sprintf("timeout 1 bash -c 'exec 3<>/dev/tcp/%s/3128' && echo yes || echo no", l.Gateway)
		if got := run(t, one, reach); got != "yes" {
			t.Errorf("the way to the mirror: %q", got)
		}
		must(t, one.Block(t.Context(), lab.APT, lab.DNS))
		if got := run(t, one, reach); got != "no" {
			t.Errorf("the way to the mirror while it is blocked: %q", got)
		}
	})
}

// TestNames asks for a name from inside. Where this computer itself gets no answer there is nothing to see.
func TestNames(t *testing.T) {
	const name = "deb.debian.org"
	if _, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip4", name); err != nil {
		t.Skip(err)
	}
	h := start(t, lab.Options{Hosts: 1}).Host("h1")
	if got := run(t, h, "getent ahostsv4 "+name+" | head -n 1 | cut -d' ' -f1"); !isAddress(got) {
		t.Errorf("%s is at %q", name, got)
	}
	must(t, h.Block(t.Context(), lab.DNS))
	if got := run(t, h, "RES_OPTIONS='timeout:1 attempts:1' getent ahostsv4 "+name+" || echo nothing"); got != "nothing" {
		t.Errorf("%s is at %q while names are blocked", name, got)
	}
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

func TestLogins(t *testing.T) {
	for login, want := range map[lab.Login]string{lab.Sudo: "0 0", lab.SudoPassword: "1 0", lab.NoSudo: "1 1"} {
		t.Run(fmt.Sprint(login), func(t *testing.T) {
			t.Parallel()
			l := start(t, lab.Options{Hosts: 1, Login: login})
			got, err := ssh(l, l.Host("h1"), "sudo -n true 2>/dev/null; a=$?; echo "+lab.Password+
				" | sudo -S -p '' true >/dev/null 2>&1; echo $a $?")
			if err != nil || got != want {
				t.Errorf("sudo without and with password: %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestFullDisk(t *testing.T) {
	h := start(t, lab.Options{Hosts: 1, Disk: 256 << 20}).Host("h1")
	must(t, h.Fill(t.Context()))
	if got := run(t, h, "echo more 2>/dev/null >/var/lib/more && cat /var/lib/more || echo full"); got != "full" {
		t.Errorf("a write to a full disk: %q", got)
	}
	must(t, h.Stop())
	must(t, h.Start(t.Context()))
	must(t, h.Empty(t.Context()))
	if got := run(t, h, "echo more >/var/lib/more && cat /var/lib/more"); got != "more" {
		t.Errorf("a write after it: %q", got)
	}
}

// ownerEnv makes this test binary the owner of a lab, to be killed.
const ownerEnv = "LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) == "" {
		os.Exit(m.Run())
	}
	l, err := lab.Start(context.Background(), lab.Options{Hosts: 2})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(l.ID, l.Folder)
	select {}
}

// TestDeadOwner kills a lab's owner: its hosts end with it, and the next lab removes the rest.
func TestDeadOwner(t *testing.T) {
	start(t, lab.Options{}) // or skip
	self, err := os.Executable()
	must(t, err)
	owner := exec.Command(self)
	owner.Env = append(os.Environ(), ownerEnv+"=1")
	out, err := owner.StdoutPipe()
	must(t, err)
	must(t, owner.Start())
	t.Cleanup(func() { _ = owner.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	id, folder, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok || id == "error" {
		t.Fatal(line)
	}
	pids := processes(t, "pressenter-lab-"+id)
	if len(pids) < 2 {
		t.Fatalf("two hosts have processes %v", pids)
	}
	another := start(t, lab.Options{})
	if _, err := os.Stat(folder); err != nil {
		t.Errorf("another lab touched one that is in use: %v", err)
	}
	must(t, another.Close())

	ends := map[int]int{}
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue // it was about to end
		}
		must(t, err)
		defer unix.Close(fd)
		ends[pid] = fd
	}
	must(t, owner.Process.Kill())
	_ = owner.Wait()
	for pid, fd := range ends {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(time.Minute.Milliseconds()))
		for errors.Is(err, unix.EINTR) {
			n, err = unix.Poll(ready, int(time.Minute.Milliseconds()))
		}
		if err != nil || n == 0 {
			t.Errorf("process %d of a host outlives the host's owner: %v", pid, err)
		}
	}
	start(t, lab.Options{})
	if left := processes(t, "pressenter-lab-"+id); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder of a dead owner's lab: %v", err)
	}
	if _, err := net.InterfaceByName("pe-lab-" + id); err == nil {
		t.Error("the bridge of a dead owner's lab is left")
	}
}

// processes are those of this computer that run and whose control group has a name.
func processes(t *testing.T, group string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	must(t, err)
	for _, f := range files {
		b, _ := os.ReadFile(f)                                         // it may have ended
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "stat")) // or have, and nobody asked how
		var pid int
		if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err == nil && strings.Contains(string(b), group) &&
			!strings.Contains(string(stat), ") Z ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestClosedLabLeavesNothing also shows that names are given once, and that nothing starts in a lab that has ended.
func TestClosedLabLeavesNothing(t *testing.T) {
	l := start(t, lab.Options{Hosts: 1})
	for _, name := range []string{"h1", "", "Upper", "a/b", "-a"} {
		if _, err := l.Add(t.Context(), name); err == nil {
			t.Errorf("Add(%q) made a host", name)
		}
	}
	must(t, l.Close())
	if left := processes(t, "pressenter-lab-"+l.ID); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if _, err := os.Stat(l.Folder); !os.IsNotExist(err) {
		t.Errorf("its folder: %v", err)
	}
	if _, err := net.InterfaceByName("pe-lab-" + l.ID); err == nil {
		t.Error("its bridge is left")
	}
	if _, err := l.Add(t.Context(), "late"); err == nil {
		t.Error("a host was added to a lab that has ended")
	}
}
