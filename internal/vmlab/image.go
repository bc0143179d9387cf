package vmlab

import (
	"bufio"
	"debug/elf"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// initScript is the machine's first process.
//
//go:embed init.sh
var initScript string

// image is what a machine finds in its first and only file system, by absolute path in there.
type image struct {
	files map[string]string // from files of this computer
	texts map[string]string // from here; all may be executed
}

// imageOf lays out the system for a job.
func imageOf(job Job, modules shelf) (image, error) {
	busybox, err := static("busybox")
	if err != nil {
		return image{}, err
	}
	order, err := modules.order(slices.Concat(wanted, job.Modules))
	if err != nil {
		return image{}, err
	}
	im := image{
		files: map[string]string{"/bin/busybox": busybox},
		texts: map[string]string{
			"/init":          initScript,
			"/job":           script(job),
			"/etc/passwd":    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
			"/etc/group":     "root:x:0:\nnogroup:x:65534:\n",
			"/etc/hosts":     "127.0.0.1 localhost\n::1 localhost\n",
			"/modules.order": strings.Join(order, "\n") + "\n",
		},
	}
	for _, m := range order {
		im.files["/modules/"+m+".ko"] = modules.file(m)
	}
	// Busybox as a shell prefers its own small programs to the ones in PATH; this computer's shell does not.
	for _, p := range slices.Concat(job.Programs, []string{"sh"}) {
		if err := im.program(p); err != nil {
			return image{}, fmt.Errorf("place %s: %w", p, err)
		}
	}
	for to, from := range job.Files {
		if !path.IsAbs(to) || path.Clean(to) != to {
			return image{}, fmt.Errorf("place %s: want a clean absolute path in the machine", to)
		}
		if err := im.add(to, from); err != nil {
			return image{}, fmt.Errorf("place %s: %w", to, err)
		}
	}
	return im, nil
}

// script is the job's command as the machine's shell runs it.
func script(job Job) string {
	var b strings.Builder
	b.WriteString("#!/usr/local/bin/sh\n")
	for _, name := range slices.Sorted(maps.Keys(job.Env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(job.Env[name]))
	}
	b.WriteString("exec")
	for _, a := range job.Args {
		b.WriteString(" " + quote(a))
	}
	b.WriteString("\n")
	return b.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// program places a program of this computer before all others in PATH.
func (im image) program(name string) error {
	file, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	return im.add(path.Join("/usr/local/bin", filepath.Base(file)), file)
}

// add places a file and, for a program that needs them, its loader and libraries, under the paths that they have here.
func (im image) add(to, from string) error {
	im.files[to] = from
	f, err := elf.Open(from)
	if format := (*elf.FormatError)(nil); errors.As(err, &format) || errors.Is(err, io.EOF) {
		return nil // a script or data
	} else if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b, err := io.ReadAll(p.Open())
		if err != nil {
			return err
		}
		loader := strings.TrimRight(string(b), "\x00")
		im.files[loader] = loader
	}
	names, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, n := range names {
		lib, err := library(n)
		if err != nil {
			return err
		}
		if _, ok := im.files[lib]; ok {
			continue
		}
		if err := im.add(lib, lib); err != nil {
			return err
		}
	}
	return nil
}

// library finds a shared library where Debian has them.
func library(name string) (string, error) {
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("library %s is nowhere", name)
}

// static finds a program that needs no libraries.
func static(name string) (string, error) {
	file, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w; try: apt-get install %s-static", err, name)
	}
	f, err := elf.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if names, err := f.ImportedLibraries(); err != nil || len(names) > 0 {
		return "", fmt.Errorf("%s needs libraries; try: apt-get install %s-static", file, name)
	}
	return file, nil
}

// folders are there even where nothing lies in them.
var folders = []string{"/bin", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/tmp", "/var/lib", "/var/tmp"}

// write makes the archive of im.
func (im image) write(file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	buffered := bufio.NewWriterSize(out, 1<<20)
	a := &archive{w: buffered}
	for _, d := range im.dirs() {
		a.dir(d[1:])
	}
	for to, text := range im.texts {
		a.text(to[1:], typeRegular|0o755, text)
	}
	for to, from := range im.files {
		if err := a.include(to[1:], from); err != nil {
			return err
		}
	}
	if err := a.close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// dirs lists every folder of im after the one it is in, without the root.
func (im image) dirs() []string {
	set := map[string]bool{"/": true}
	note := func(d string) {
		for ; !set[d]; d = path.Dir(d) {
			set[d] = true
		}
	}
	for _, d := range folders {
		note(d)
	}
	for to := range im.files {
		note(path.Dir(to))
	}
	for to := range im.texts {
		note(path.Dir(to))
	}
	delete(set, "/")
	return slices.Sorted(maps.Keys(set))
}

// include adds a file of this computer.
func (a *archive) include(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("read %s: %w", from, fs.ErrInvalid)
	}
	a.entry(name, typeRegular|uint32(info.Mode().Perm()), info.Size(), f)
	return a.err
}
