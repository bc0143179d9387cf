package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// image is a file that stands for a volume.
func image(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"blkid", "wipefs", "mkfs.ext4"} {
		if _, err := program(name); err != nil {
			t.Skip(err)
		}
	}
	path := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 64<<20); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEmptyVolume(t *testing.T) {
	path := image(t)
	c, err := probe(t.Context(), path)
	if err != nil || c != (contents{}) || c.refuse(path) != nil {
		t.Fatalf("an empty one holds %+v, %v", c, err)
	}
	if err := format(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	c, err = probe(t.Context(), path)
	if err != nil || c.kind != "ext4" || c.label != volumeLabel || c.uuid == "" || c.refuse(path) != nil {
		t.Errorf("once formatted it holds %+v, %v", c, err)
	}
}

// Nothing that holds anything is taken for empty.
func TestVolumeThatHoldsSomething(t *testing.T) {
	for name, fill := range map[string]string{
		"another file system":   "mkfs.ext4 -q -L mine V",
		"one without a label":   "mkfs.ext4 -q V",
		"swap":                  "mkswap V",
		"a partition table":     `printf '\203' | dd of=V bs=1 seek=450 conv=notrunc status=none; printf '\125\252' | dd of=V bs=1 seek=510 conv=notrunc status=none`,
		"encrypted":             "dd if=/dev/urandom of=V bs=1M count=1 conv=notrunc status=none",
		"written in the middle": "printf x | dd of=V bs=1 seek=3000000 conv=notrunc status=none",
		"our label, other kind": "mkswap -L pressenter V",
	} {
		path := image(t)
		if out, err := exec.Command("sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; "+strings.ReplaceAll(fill, "V", path)).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		c, err := probe(t.Context(), path)
		if err != nil {
			continue // it is not known, so it is left alone
		}
		if err := c.refuse(path); err == nil || !strings.Contains(err.Error(), "left as it is") || strings.Contains(err.Error(), "%!") {
			t.Errorf("%s: it holds %+v, %v", name, c, err)
		}
	}
}

func TestFindVolume(t *testing.T) {
	for pattern, want := range map[string]string{
		"sdb": "below /dev", "/dev/../etc/passwd": "below /dev", "/dev/no-such-volume-*": "is it attached?", "/dev/null": "not a block device",
		"/dev/[": "find volume",
	} {
		if got, err := findVolume(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", pattern, got, err, want)
		}
	}
}

func TestVolumeThatIsAway(t *testing.T) {
	there := filepath.Join(t.TempDir(), "some.mount")
	if err := os.WriteFile(there, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removed := there + ".removed"
	for name, tc := range map[string]struct {
		noted    bool
		unit, at string
		want     string
	}{
		"without a volume":              {false, removed, t.TempDir(), ""},
		"mounted":                       {true, there, "/proc", ""},
		"mounted by an older set-up":    {false, there, "/proc", ""},
		"not mounted":                   {true, there, t.TempDir(), "volume-away"},
		"not mounted, older set-up":     {false, there, t.TempDir(), "volume-away"},
		"mounted, and unit removed":     {true, removed, "/proc", "volume-not-at-boot"},
		"not mounted, and unit removed": {true, removed, t.TempDir(), "volume-away"},
	} {
		f := checkVolume(tc.noted, tc.unit, tc.at)
		if tc.want == "" && len(f) != 0 || tc.want != "" && (len(f) != 1 || f[0].Code != tc.want) {
			t.Errorf("%s: %+v, want %q", name, f, tc.want)
		}
	}
}

func TestVolumeIsNoted(t *testing.T) {
	spec := Spec{Program: "/opt/pressenter/x/pressenter", Volume: "/dev/disk/by-id/x"}
	r := Record{}.next(spec)
	if r.Volume != spec.Volume || equal(r, Record{}.next(Spec{Program: spec.Program})) {
		t.Errorf("noted is %q", r.Volume)
	}
	if n := r.next(Spec{Program: spec.Program}); n.Volume != spec.Volume {
		t.Errorf("a set-up that says nothing of it leaves %q, and the volume is mounted", n.Volume)
	}
}

func TestMountOverFiles(t *testing.T) {
	dir := t.TempDir()
	if err := emptyFolder(dir); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := emptyFolder(dir); err == nil {
		t.Error("files would be hidden")
	}
	if IsMount(dir) || !IsMount("/proc") {
		t.Error("what is a mount point is not known")
	}
}
