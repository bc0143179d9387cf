package provision

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/tofu"
)

// stampFile says for which configuration and tool the folder was initialized.
const stampFile = "initialized"

// write puts the configuration in place, and takes away what an earlier one had beyond it. What is as it should be is left
// alone.
func (w *Workspace) write(files map[string][]byte) error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return err
	}
	if err := w.prune(files); err != nil {
		return err
	}
	for name, b := range files {
		to := w.path(filepath.FromSlash(name))
		if have, err := os.ReadFile(to); err == nil && bytes.Equal(have, b) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := atomicfile.Write(to, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// prune removes the modules' files that are not among files.
func (w *Workspace) prune(files map[string][]byte) error {
	for _, tree := range []string{"modules", "sweep", "preflight"} {
		err := filepath.WalkDir(w.path(tree), func(at string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(w.Dir, at)
			if _, wanted := files[filepath.ToSlash(name)]; wanted || err != nil {
				return err
			}
			return os.Remove(at)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// prepare writes the configuration and gets its providers.
func (w *Workspace) prepare(ctx context.Context, spec tofu.Spec) error {
	files, err := tofu.Root(spec)
	if err != nil {
		return err
	}
	return w.prepareFiles(ctx, files)
}

func (w *Workspace) prepareFiles(ctx context.Context, files map[string][]byte) error {
	if err := w.write(files); err != nil {
		return fmt.Errorf("write the configuration of machines: %w", err)
	}
	if !w.Tool.Encrypts() && len(w.Passphrase) > 0 && !w.warned {
		w.warned = true
		w.warn("Terraform cannot encrypt its state: %q is plain text, readable by you alone; OpenTofu would encrypt it", w.path(stateFile))
	}
	stamp := w.stamp(files)
	if have, err := os.ReadFile(w.path(stampFile)); err == nil && string(have) == stamp && w.has(".terraform") {
		return nil
	}
	return w.initialize(ctx, files)
}

// initialize gets the providers, whatever there is.
func (w *Workspace) initialize(ctx context.Context, files map[string][]byte) error {
	if _, err := w.ask(ctx, "init", "-input=false", "-no-color"); err != nil {
		return fmt.Errorf("get the clouds' providers: %w", err)
	}
	return atomicfile.Write(w.path(stampFile), []byte(w.stamp(files)), 0o600)
}

// ready runs a command in a folder that should be initialized, and initializes it again if it turns out not to be.
func (w *Workspace) ready(ctx context.Context, files map[string][]byte, command func() error) error {
	err := command()
	var failed *Failure
	if !errors.As(err, &failed) || !failed.wantsInit() {
		return err
	}
	if err := w.initialize(ctx, files); err != nil {
		return err
	}
	return command()
}

// stamp is a hash of all that init depends on: the tool, the modules and their providers, and the versions that were
// chosen. What machines there are to be does not matter to it.
func (w *Workspace) stamp(files map[string][]byte) string {
	h := sha256.New()
	fmt.Fprintln(h, w.Tool.Path, w.Tool.Name, w.Tool.Version)
	var main map[string]json.RawMessage
	if json.Unmarshal(files[mainFile], &main) == nil {
		for _, key := range []string{"terraform", "provider", "module"} {
			fmt.Fprintf(h, "%s %s\n", key, main[key])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == "versions.tf" {
			fmt.Fprintf(h, "%s %s\n", name, files[name])
		}
	}
	lock, _ := os.ReadFile(w.path(".terraform.lock.hcl")) // none is a content, too
	_, _ = h.Write(lock)
	return hex.EncodeToString(h.Sum(nil)) + "\n"
}

// CloudsInState names the clouds of which the state has something.
func (w *Workspace) CloudsInState(ctx context.Context) ([]string, error) {
	s, err := w.readState(ctx)
	if err != nil {
		return nil, err
	}
	var clouds []string
	for address := range s {
		if cloud := cloudOf(address); !slices.Contains(clouds, cloud) {
			clouds = append(clouds, cloud)
		}
	}
	slices.Sort(clouds)
	return clouds, nil
}

// CloudsInJournals names the clouds in which any run may have made something.
func (w *Workspace) CloudsInJournals() ([]string, error) {
	all, err := w.runs()
	if err != nil {
		return nil, err
	}
	var clouds []string
	for _, r := range all {
		clouds = union(clouds, r.Spec.Keep)
		for _, h := range r.Spec.Hosts {
			clouds = union(clouds, []string{h.Cloud})
		}
	}
	return clouds, nil
}

// keep names in the spec the clouds in which nothing is wanted any more and something may be left: without their modules
// and providers, nothing of theirs could be destroyed. Only what the last configuration had can be in the state.
func (w *Workspace) keep(ctx context.Context, spec tofu.Spec) (tofu.Spec, error) {
	wanted := slices.Clone(spec.Keep)
	for _, h := range spec.Hosts {
		wanted = append(wanted, h.Cloud)
	}
	var last struct {
		Module map[string]json.RawMessage `json:"module"`
	}
	b, err := os.ReadFile(w.path(mainFile))
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &last); err != nil {
			return spec, fmt.Errorf("read %q: %w", w.path(mainFile), err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return spec, err
	}
	unwanted := func(cloud string) bool { return !slices.Contains(wanted, cloud) }
	if !slices.ContainsFunc(slices.Collect(maps.Keys(last.Module)), unwanted) && err == nil {
		return w.keeping(spec, nil), nil
	}
	have, err := w.CloudsInState(ctx)
	if err != nil {
		return spec, err
	}
	return w.keeping(spec, slices.DeleteFunc(have, func(c string) bool { return !unwanted(c) })), nil
}

func (w *Workspace) keeping(spec tofu.Spec, clouds []string) tofu.Spec {
	spec.Keep = append(slices.Clone(spec.Keep), clouds...)
	w.kept = slices.Clone(spec.Keep)
	for _, h := range spec.Hosts {
		w.kept = append(w.kept, h.Cloud)
	}
	return spec
}

// cloudOf is the module of an address, which is named for its cloud.
func cloudOf(address string) string {
	cloud, _, _ := strings.Cut(strings.TrimPrefix(address, "module."), ".")
	return cloud
}
