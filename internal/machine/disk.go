package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A volume holds what the node's user writes: the chain's data. It is mounted over that user's folder, by what it is and
// not by where it is attached, and a server that takes another's place finds the data there. What signs is to have a
// small area of its own, /var/lib/pressenter/signer on the system's disk, which no chain can fill and which no volume
// that is cloned or put back takes along.
const (
	volumeLabel = "pressenter"
	volumeAt    = Folder + "/node"
	volumeUnit  = "var-lib-pressenter-node.mount"
)

func volumeUnitText(uuid string) string {
	return `[Unit]
Description=pressenter: data volume

[Mount]
What=/dev/disk/by-uuid/` + uuid + `
Where=` + volumeAt + `
Type=ext4
Options=noatime,nodev,nosuid

[Install]
WantedBy=local-fs.target
`
}

// keepVolume mounts the volume, and formats it only if it never held anything.
func keepVolume(ctx context.Context, pattern string, r *Report) error {
	if pattern == "" {
		return nil
	}
	device, err := findVolume(pattern)
	if err != nil {
		return err
	}
	v, err := probe(ctx, device)
	if err != nil {
		return err
	}
	if err := v.refuse(device); err != nil {
		return err
	}
	mounted := isMount(volumeAt)
	if !mounted {
		if err := emptyFolder(volumeAt); err != nil {
			return err
		}
	}
	if v.kind == "" {
		if err := format(ctx, device); err != nil {
			return err
		}
		r.note("volume %s formatted", device)
		if v, err = probe(ctx, device); err != nil {
			return err
		}
	}
	changed, err := place(filepath.Join(unitFolder, volumeUnit), volumeUnitText(v.uuid))
	if err != nil {
		return err
	}
	if changed {
		r.note("%s", filepath.Join(unitFolder, volumeUnit))
		if _, err := output(ctx, "systemctl", "daemon-reload"); err != nil {
			return err
		}
	}
	if mounted && !changed {
		return nil
	}
	if _, err := output(ctx, "systemctl", "enable", "--now", "--quiet", volumeUnit); err != nil {
		return fmt.Errorf("mount volume %s: %w", device, err)
	}
	if !isMount(volumeAt) {
		return fmt.Errorf("mount volume %s: %s is not a mount point after all; see 'systemctl status %s'", device, volumeAt, volumeUnit)
	}
	return nil
}

// findVolume returns the one block device that fits a path, which may hold *.
func findVolume(pattern string) (string, error) {
	if !filepath.IsAbs(pattern) || !strings.HasPrefix(filepath.Clean(pattern), "/dev/") {
		return "", fmt.Errorf("find volume %q: it has to be below /dev", pattern)
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("find volume %q: %w", pattern, err)
	}
	real := map[string]bool{}
	for _, path := range found { // several links may lead to one device
		if to, err := filepath.EvalSymlinks(path); err == nil {
			real[to] = true
		}
	}
	switch len(real) {
	case 0:
		return "", fmt.Errorf("find volume %q: there is none: is it attached?", pattern)
	case 1:
	default:
		return "", fmt.Errorf("find volume %q: %s fit; say which one", pattern, strings.Join(found, ", "))
	}
	for device := range real {
		if info, err := os.Stat(device); err != nil || info.Mode().Type() != fs.ModeDevice {
			return "", fmt.Errorf("find volume %q: %s is not a block device", pattern, device)
		}
		return device, nil
	}
	return "", nil
}

// contents are what a device holds.
type contents struct {
	kind, label, uuid string // of a file system; kind may be another signature, as of a partition table
	written           bool   // there is no signature, and yet it is not empty
}

// probe looks at a device itself, not at what is cached of it.
func probe(ctx context.Context, device string) (c contents, err error) {
	said, err := output(ctx, "blkid", "--probe", "--output", "export", device)
	var exit *exec.ExitError
	nothing := errors.As(err, &exit) && exit.ExitCode() == 2
	if err != nil && !nothing {
		return c, fmt.Errorf("look at volume %s: %w", device, err) // 8: several signatures that contradict each other
	}
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "TYPE":
			c.kind = value
		case "PTTYPE":
			c.kind = "a partition table, " + value
		case "LABEL":
			c.label = value
		case "UUID":
			c.uuid = value
		}
	}
	if c.kind != "" {
		return c, nil
	}
	said, err = output(ctx, "wipefs", "--no-act", "--parsable", device) // knows more signatures
	if err != nil {
		return c, fmt.Errorf("look at volume %s: %w", device, err)
	}
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			c.kind = "a signature (" + strings.TrimSpace(line) + ")"
		}
	}
	c.written, err = written(device)
	return c, err
}

// written says whether the beginning of a device holds anything but zeros: what is encrypted has no signature.
func written(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4<<20))
	if err != nil {
		return false, fmt.Errorf("look at volume %s: %w", device, err)
	}
	return len(bytes.Trim(b, "\x00")) > 0, nil
}

// refuse says why a device cannot be the data volume.
func (c contents) refuse(device string) error {
	const mend = "if nobody needs that, empty it yourself: 'wipefs --all %[1]s && mkfs.ext4 -L " + volumeLabel + " %[1]s'"
	switch {
	case c.kind == "" && !c.written, c.kind == "ext4" && c.label == volumeLabel:
		return nil
	case c.kind == "":
		return fmt.Errorf("volume %[1]s holds something without a name, and was left as it is; "+mend, device)
	}
	return fmt.Errorf("volume %[1]s holds %[2]s %[3]q, and was left as it is; "+strings.ReplaceAll(mend, "%[1]s", device), device, c.kind, c.label)
}

// format makes a file system. It ends badly on a device that is in use.
func format(ctx context.Context, device string) error {
	if _, err := output(ctx, "mkfs.ext4", "-q", "-m", "1", "-L", volumeLabel, device); err != nil {
		return fmt.Errorf("format volume %s: %w", device, err)
	}
	return nil
}

// isMount says whether something is mounted at a folder.
func isMount(path string) bool {
	var here, above unix.Stat_t
	return unix.Lstat(path, &here) == nil && unix.Lstat(filepath.Dir(path), &above) == nil && here.Dev != above.Dev
}

// emptyFolder refuses to mount over files, which would be there and not be seen.
func emptyFolder(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s holds files that are not on the volume: stop the node, move them there, then run 'pressenter harden'", path)
	}
	return err
}

// removeVolume takes the mount away and keeps what is on it.
func removeVolume(ctx context.Context) error {
	path := filepath.Join(unitFolder, volumeUnit)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := output(ctx, "systemctl", "disable", "--now", "--quiet", volumeUnit)
	return errors.Join(err, os.Remove(path))
}
