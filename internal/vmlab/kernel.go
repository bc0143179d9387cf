package vmlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// metapackage is always the newest kernel of its Debian release. The one for clouds has all we need, WireGuard and netem
// among it, and is a third of the other.
const metapackage = "linux-image-cloud-amd64"

// kept is for how long kernels stay on disk that nobody uses.
const kept = 30 * 24 * time.Hour

// partial begins the names of kernels in the cache that are not complete.
const partial = ".new-"

// release is one kernel package.
type release struct{ pkg, version string }

// folder is the name of its place in the cache.
func (r release) folder() string { return strings.ReplaceAll(r.version, ":", "_") }

var dependsOn = regexp.MustCompile(`(?m)^Depends: .*?\b(linux-image-[0-9][^ ,]*) \(= ([^ )]+)\)`)

// newest reads which kernel package the metapackage stands for, in what apt-cache show prints.
func newest(shown string) (release, error) {
	m := dependsOn.FindStringSubmatch(shown)
	if m == nil {
		return release{}, fmt.Errorf("apt-cache names no kernel that %s depends on; try: apt-get update", metapackage)
	}
	return release{pkg: m[1], version: m[2]}, nil
}

// Prepare makes a virtual machine ready to run: it downloads Debian's newest kernel for the system's own package sources
// unless that is in the cache below [os.UserCacheDir], where it stays. Without any answer of apt it takes the newest that
// is there. logf is told what takes long. Several processes may prepare at once.
func Prepare(ctx context.Context, logf func(format string, args ...any)) (*VM, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find cache: %w", err)
	}
	return prepare(ctx, filepath.Join(cache, "pressenter", "vm"), logf)
}

func prepare(ctx context.Context, cache string, logf func(format string, args ...any)) (*VM, error) {
	r, err := ask(ctx)
	if err == nil {
		err = fetch(ctx, cache, r, logf)
	}
	if err != nil {
		folder := lastUsed(cache)
		if folder == "" || ctx.Err() != nil {
			return nil, fmt.Errorf("get a kernel: %w", err)
		}
		logf("vmlab: no new kernel (%v): taking the one in %s", err, folder)
		return open(folder)
	}
	vm, err := open(filepath.Join(cache, r.folder()))
	if err == nil {
		forget(cache)
	}
	return vm, err
}

// open takes an unpacked kernel.
func open(folder string) (*VM, error) {
	names, err := builtins(filepath.Join(folder, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("open kernel: %w", err)
	}
	now := time.Now()
	return &VM{
		kernel:  filepath.Join(folder, "vmlinuz"),
		modules: shelf{folder: filepath.Join(folder, "modules"), builtin: names},
	}, os.Chtimes(folder, now, now)
}

func ask(ctx context.Context) (release, error) {
	shown, err := exec.CommandContext(ctx, "apt-cache", "show", "--no-all-versions", metapackage).Output()
	if err != nil {
		return release{}, fmt.Errorf("ask apt for %s: %w", metapackage, told(err))
	}
	return newest(string(shown))
}

// fetch brings a kernel into the cache, where it appears complete or not at all.
func fetch(ctx context.Context, cache string, r release, logf func(format string, args ...any)) error {
	final := filepath.Join(cache, r.folder())
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, partial)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	began := time.Now()
	if err := unpack(ctx, work, r); err != nil {
		return err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return err
	}
	if err := os.Rename(work, final); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep kernel: %w", err)
	}
	logf("vmlab: downloaded and unpacked %s %s in %v", r.pkg, r.version, time.Since(began).Round(time.Millisecond))
	return nil
}

// unpack leaves vmlinuz, modules.builtin and modules/ of a release in folder.
func unpack(ctx context.Context, folder string, r release) error {
	get := exec.CommandContext(ctx, "apt-get", "download", r.pkg+"="+r.version)
	get.Dir = folder
	if said, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("download %s: %w\n%s", r.pkg, err, said)
	}
	debs, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download %s: %d files came, want 1", r.pkg, len(debs))
	}
	tree := filepath.Join(folder, "tree")
	if said, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], tree).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", debs[0], err, said)
	}
	return errors.Join(
		pick(filepath.Join(tree, "boot", "vmlinuz-*"), filepath.Join(folder, "vmlinuz")),
		pick(filepath.Join(tree, "lib", "modules", "*", "modules.builtin"), filepath.Join(folder, "modules.builtin")),
		stock(tree, filepath.Join(folder, "modules")),
		os.RemoveAll(tree),
		os.Remove(debs[0]),
	)
}

// pick moves the only file that pattern matches.
func pick(pattern, to string) error {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("unpack kernel: %d files are like %s, want 1", len(found), filepath.Base(pattern))
	}
	return os.Rename(found[0], to)
}

// lastUsed finds the kernel in the cache that ran last, "" for none.
func lastUsed(cache string) (folder string) {
	var last time.Time
	for name, used := range cached(cache) {
		if used.After(last) && !strings.HasPrefix(name, partial) {
			folder, last = filepath.Join(cache, name), used
		}
	}
	return folder
}

// forget removes what nobody used for long, also what was never completed.
func forget(cache string) {
	for name, used := range cached(cache) {
		if time.Since(used) > kept {
			_ = os.RemoveAll(filepath.Join(cache, name)) // it only takes space
		}
	}
}

// cached tells the folders in the cache and when each was used last.
func cached(cache string) map[string]time.Time {
	entries, _ := os.ReadDir(cache) // none yet
	out := map[string]time.Time{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() {
			out[e.Name()] = info.ModTime()
		}
	}
	return out
}

// told adds what a program wrote to its standard error.
func told(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}
