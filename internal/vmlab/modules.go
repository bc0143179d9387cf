package vmlab

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// wanted are the modules that a machine loads before its job, and with them what they depend on.
var wanted = []string{
	// links
	"wireguard", "veth", "bridge", "dummy", "tun", "sch_netem", "sch_tbf", "sch_ingress",
	// libcrc32c asks the kernel's crypto by name, which no dependency tells
	"crc32c_generic",
	// packet filters of the kind that table inet with sets, limits, counters and connection states needs
	"nf_tables", "nft_ct", "nft_limit", "nft_log", "nf_log_syslog", "nft_numgen", "nft_quota", "nft_reject_inet",
	"nft_objref", "nft_connlimit",
}

// shelf is a kernel's modules in one folder, each as name.ko with the hyphens of its name made underscores.
type shelf struct {
	folder  string
	builtin []string // names of what is in the kernel itself
}

// spell is how the kernel spells a module's name: hyphens and underscores are the same to it.
func spell(name string) string { return strings.ReplaceAll(name, "-", "_") }

// order returns names and all that they depend on, each once and after its own dependencies.
func (s shelf) order(names []string) ([]string, error) {
	return order(names, s.builtin, func(name string) ([]string, error) { return dependencies(s.file(name)) })
}

func order(names, builtin []string, depends func(name string) ([]string, error)) ([]string, error) {
	var out, path []string
	var visit func(name string) error
	visit = func(name string) error {
		name = spell(name)
		switch {
		case slices.Contains(out, name) || slices.Contains(builtin, name):
			return nil
		case slices.Contains(path, name):
			return fmt.Errorf("module %s depends on itself by way of %s", name, strings.Join(path, ", "))
		}
		needs, err := depends(name)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		path = append(path, name)
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		path = path[:len(path)-1]
		out = append(out, name)
		return nil
	}
	for _, n := range names {
		if err := visit(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s shelf) file(name string) string { return filepath.Join(s.folder, name+".ko") }

// dependencies reads the names that a module's own description gives. modules.dep is made when a kernel is installed,
// which this one never is.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	defer f.Close()
	info := f.Section(".modinfo")
	if info == nil {
		return nil, errors.New("read module: it has no section .modinfo")
	}
	b, err := info.Data()
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	for field := range bytes.SplitSeq(b, []byte{0}) {
		if names, ok := bytes.CutPrefix(field, []byte("depends=")); ok {
			return strings.FieldsFunc(string(names), func(r rune) bool { return r == ',' }), nil
		}
	}
	return nil, nil
}

// stock fills folder with all modules below tree, by moving them.
func stock(tree, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Ext(path) != ".ko" {
			return err
		}
		return os.Rename(path, filepath.Join(folder, spell(d.Name())))
	})
}

// builtins reads a kernel's modules.builtin: one path a line.
func builtins(file string) ([]string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var names []string
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		names = append(names, spell(strings.TrimSuffix(filepath.Base(lines.Text()), ".ko")))
	}
	return names, nil
}
