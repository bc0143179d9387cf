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
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pressenter/pressenter/internal/health"
)

// A volume holds the chain's data: the home of the daemon. It is mounted there by what it is and not by where it is
// attached, and a server that takes another's place finds the data on it. What signs, key and sign state, stays beside it
// on the system's disk: no chain that fills its volume can keep the sign state from being written, and no volume that is
// cloned or put back takes a key or an older sign state along. So do the logs.
const (
	volumeLabel = "pressenter"
	volumeAt    = Folder + "/node/home"
	volumeUnit  = "var-lib-pressenter-node-home.mount"
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

// keepVolume mounts the volume, formats it only if it never held anything, and lets its file system have all of it.
func keepVolume(ctx context.Context, spec Spec, r *Report) error {
	if spec.Volume == "" {
		return nil
	}
	device, err := findVolume(spec.Volume)
	if err != nil {
		return err
	}
	if err := large(device, spec.VolumeGB); err != nil {
		return err
	}
	if err := mountVolume(ctx, device, r); err != nil {
		return err
	}
	if err := growVolume(ctx, device, volumeAt, r); err != nil {
		return err
	}
	was, err := folder{volumeAt, NodeUser, 0o700}.settle()
	if err == nil && was != "" {
		r.note("folder %s %s", volumeAt, was)
	}
	return err
}

// mountVolume mounts the volume at its place, and sees to it that every boot does.
func mountVolume(ctx context.Context, device string, r *Report) error {
	v, err := probe(ctx, device)
	if err != nil {
		return err
	}
	if err := v.refuse(device); err != nil {
		return err
	}
	mounted := IsMount(volumeAt)
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
	if !IsMount(volumeAt) {
		return fmt.Errorf("mount volume %s: %s is not a mount point after all; see 'systemctl status %s'", device, volumeAt, volumeUnit)
	}
	return nil
}

// large says whether the device is as large as it was bought, or grown. A server may see only later that it grew.
func large(device string, gb int) error {
	if gb == 0 {
		return nil
	}
	sys := filepath.Join("/sys/class/block", filepath.Base(device))
	_ = os.WriteFile(filepath.Join(sys, "device", "rescan"), []byte("1"), 0) // a disk of SCSI looks again; others know already
	b, err := os.ReadFile(filepath.Join(sys, "size"))
	if err != nil {
		return fmt.Errorf("look how large volume %s is: %w", device, err)
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return fmt.Errorf("look how large volume %s is: %w", device, err)
	}
	const sector, giga = 512, 1_000_000_000
	if has := sectors * sector; has < int64(gb)*giga {
		return fmt.Errorf("volume %s has %d GB here, and %d GB were bought: this server does not see yet that it grew; try again, or reboot the server", device, has/giga, gb)
	}
	return nil
}

// growVolume lets the mounted file system have all of its device.
func growVolume(ctx context.Context, device, at string, r *Report) error {
	var before, after unix.Statfs_t
	if err := unix.Statfs(at, &before); err != nil {
		return err
	}
	if _, err := output(ctx, "resize2fs", device); err != nil {
		return fmt.Errorf("grow the file system of volume %s: %w", device, err)
	}
	if err := unix.Statfs(at, &after); err != nil {
		return err
	}
	if after.Blocks > before.Blocks {
		r.note("file system of volume %s grown", device)
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

// IsMount says whether something is mounted at a folder.
func IsMount(path string) bool {
	var here, above unix.Stat_t
	return unix.Lstat(path, &here) == nil && unix.Lstat(filepath.Dir(path), &above) == nil && here.Dev != above.Dev
}

// checkVolume says whether a volume that a set-up mounted is away, or will be after a reboot. A set-up noted that there is
// one; those of older programs left only its unit.
func checkVolume(noted bool, unit, at string) []health.Finding {
	_, err := os.Stat(unit)
	removed := errors.Is(err, fs.ErrNotExist)
	f := health.Finding{
		Code: "volume-away", Severity: health.Critical, Subject: at,
		Message: fmt.Sprintf("The data volume is not mounted at %s, so the node does not start.", at),
		Next:    fmt.Sprintf("See in the cloud's console whether it is attached, and 'systemctl status %s' on the machine; then 'systemctl start %s'.", volumeUnit, volumeUnit),
	}
	switch mounted := IsMount(at); {
	case removed && !noted, mounted && !removed:
		return nil
	case mounted:
		f.Code, f.Severity, f.Subject = "volume-not-at-boot", health.Warning, unit
		f.Message = unit + " was removed on the machine: after a reboot, the data volume is not mounted and the node has no data."
		f.Next = "Run 'pressenter harden', which puts it back."
	case removed:
		f.Message = fmt.Sprintf("The data volume is not mounted at %s, and its unit %s was removed on the machine: the node has no data.", at, unit)
		f.Next = "Run 'pressenter harden', which puts it back and mounts the volume; where it refuses, it says why."
	}
	return []health.Finding{f}
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
