package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Cut takes the host off the network until [Host.Heal], also through reboots. The host sees no sign of it: what it
// sends gets nowhere.
func (h *Host) Cut() error { return h.carry(false) }

// Heal ends [Host.Cut].
func (h *Host) Heal() error { return h.carry(true) }

func (h *Host) carry(carried bool) error {
	running := h.Running()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut = !carried
	if !running {
		return nil
	}
	return setCarried(h.wire, bridge(h.lab.ID), carried)
}

// faultTable is the host's own table for faults. A host that empties its whole rule set ends them.
const faultTable = "inet lab"

var rules = map[Service]string{
	SSH: "add rule " + faultTable + " in tcp dport 22 drop\n",
	DNS: "add rule " + faultTable + " out meta l4proto { tcp, udp } th dport " + namesPort + " drop\n",
	APT: "add rule " + faultTable + " out tcp dport " + proxyPort + " drop\n",
}

// Block silently drops what a service consists of, and only that, until [Host.Unblock], [Host.Start] or a reboot. It
// replaces what was blocked before.
func (h *Host) Block(ctx context.Context, services ...Service) error {
	script := "add table " + faultTable + "\ndelete table " + faultTable + "\nadd table " + faultTable + "\n" +
		"add chain " + faultTable + " in { type filter hook prerouting priority -400; }\n" +
		"add chain " + faultTable + " out { type filter hook output priority -400; }\n"
	for _, s := range services {
		rule, ok := rules[s]
		if !ok {
			return fmt.Errorf("%s: block %q: there is no such service", h.Name, s)
		}
		script += rule
	}
	return h.feed(ctx, script, "nft", "-f", "-")
}

// Unblock ends [Host.Block].
func (h *Host) Unblock(ctx context.Context) error {
	return h.feed(ctx, "add table "+faultTable+"\ndelete table "+faultTable+"\n", "nft", "-f", "-")
}

// feed runs a command in the host with something to read.
func (h *Host) feed(ctx context.Context, stdin string, args ...string) error {
	cmd, err := h.Command(ctx, args...)
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: run %s: %w: %s", h.Name, strings.Join(args, " "), err, tail(out))
	}
	return nil
}

// Fill leaves no byte free on the host's disk, which must be a limited one.
func (h *Host) Fill(ctx context.Context) error {
	if h.lab.options.Disk == 0 {
		return fmt.Errorf("fill the disk of %s: it has no limit: set Options.Disk", h.Name)
	}
	// Most of it at once, the rest byte by byte, until there is no space.
	_, err := h.Exec(ctx, "sh", "-c", `fallocate -l "$(df --output=avail -B1 / | tail -n 1)" /filler
		dd if=/dev/zero of=/filler bs=4096 conv=notrunc oflag=append status=none; sync
		test "$(df --output=avail -B1 / | tail -n 1)" -eq 0`)
	return err
}

// Empty ends [Host.Fill].
func (h *Host) Empty(ctx context.Context) error {
	_, err := h.Exec(ctx, "rm", "-f", "/filler")
	return err
}

// ChangeHostKey gives the host another key, as if somebody else answered at its address.
func (h *Host) ChangeHostKey(ctx context.Context) error {
	folder, err := os.MkdirTemp(h.folder, "key-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "key")
	public, err := newKey(ctx, path, "root@"+h.Name)
	if err != nil {
		return err
	}
	private, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const place = "/etc/ssh/ssh_host_ed25519_key"
	script := "umask 077 && cat >" + place + " && ssh-keygen -y -f " + place + " >" + place + ".pub && systemctl restart ssh"
	if err := h.feed(ctx, string(private), "sh", "-c", script); err != nil {
		return err
	}
	h.setHostKey(public)
	return h.lab.introduce()
}
