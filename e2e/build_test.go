package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Where the programs under test are.
func pressenter() string { return filepath.Join(workshop, "bin", "pressenter") }
func practiced() string  { return filepath.Join(workshop, "bin", "practiced") }

// installPrograms builds the programs of this checkout, unless that was done before, and puts them side by side as an
// installation would.
func installPrograms(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	built, err := build(checkout, "./cmd/pressenter", "chain", "croc", "e2e", "docs")
	if err != nil {
		return err
	}
	if err := place(built, filepath.Join(dir, "pressenter")); err != nil {
		return err
	}
	carrier, err := build(filepath.Join(checkout, "croc"), ".")
	if err != nil {
		return err
	}
	if err := place(carrier, filepath.Join(dir, "pressenter-croc")); err != nil {
		return err
	}
	daemon := *given
	if daemon == "" {
		if daemon, err = build(filepath.Join(checkout, "chain"), "./cmd/practiced"); err != nil {
			return err
		}
	}
	return place(daemon, filepath.Join(dir, "practiced"))
}

// build builds one program of a module, and keeps it for as long as the module's sources are the same.
func build(module, pkg string, without ...string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "pressenter", "e2e")
	sum, err := sources(module, without)
	if err != nil {
		return "", fmt.Errorf("hash sources of %q: %w", module, err)
	}
	name := filepath.Base(filepath.Join(module, pkg))
	out := filepath.Join(cache, name+"-"+sum[:16])
	if _, err := os.Stat(out); err == nil {
		return out, os.Chtimes(out, time.Now(), time.Now())
	}
	forget(cache)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	fresh := fmt.Sprintf("%s.%d", out, os.Getpid())
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", fresh, pkg)
	c.Dir = module
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, said)
	}
	return out, os.Rename(fresh, out)
}

// forget removes programs that nobody used for a week.
func forget(cache string) {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
			_ = os.Remove(filepath.Join(cache, e.Name()))
		}
	}
}

// sources hashes all that a module's programs are made of.
func sources(module string, without []string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(module, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if hidden := rel != "." && strings.HasPrefix(d.Name(), "."); hidden || d.Name() == "testdata" {
				return filepath.SkipDir
			}
			for _, w := range without {
				if rel == w {
					return filepath.SkipDir
				}
			}
			return nil
		}
		if !source(d.Name()) || !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", rel, len(b))
		h.Write(b)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// source says whether a file goes into a program: Go's own, or something embedded.
func source(name string) bool {
	if strings.HasSuffix(name, "_test.go") {
		return false
	}
	switch filepath.Ext(name) {
	case ".go", ".mod", ".sum", ".json", ".yaml", ".toml", ".tmpl":
		return true
	}
	return false
}

// place puts a program where it is run from: the same file where that is possible.
func place(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return os.Chmod(to, 0o755)
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
