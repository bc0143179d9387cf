package fakecloud

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// registries are where the providers' short names are looked for: by OpenTofu, and by Terraform.
var registries = []string{"registry.opentofu.org", "registry.terraform.io"}

// Mirror fills the folder out with providers that are copies of program, so that `init` installs them without a network, and
// answers the CLI's configuration file that says so. A provider with a recorded checksum in a lock file is the real one's:
// for such a configuration there is dev.tofurc beside the answer, whose overrides plan and apply do not hold against it.
func Mirror(out, program string, s Settings) (string, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	if s.Dir == "" {
		s.Dir = filepath.Join(out, "cloud")
	}
	for _, p := range []*string{&s.Dir, &s.Schemas, &s.Hosts} {
		if *p != "" {
			if *p, err = filepath.Abs(*p); err != nil {
				return "", err
			}
		}
	}
	settings, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", err
	}
	first, overrides := "", ""
	for _, c := range clouds {
		for _, registry := range registries {
			dir := filepath.Join(out, "mirror", registry, c.namespace, c.provider, c.version, runtime.GOOS+"_"+runtime.GOARCH)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return "", fmt.Errorf("make the mirror: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, "fakecloud.json"), settings, 0o644); err != nil {
				return "", fmt.Errorf("write the mirror's settings: %w", err)
			}
			binary := filepath.Join(dir, "terraform-provider-"+c.provider+"_v"+c.version)
			if err := place(&first, program, binary); err != nil {
				return "", fmt.Errorf("put the provider %s into the mirror: %w", c.provider, err)
			}
			overrides += fmt.Sprintf("    %q = %q\n", registry+"/"+c.namespace+"/"+c.provider, dir)
		}
	}
	mirror := fmt.Sprintf("  filesystem_mirror {\n    path = %q\n  }\n", filepath.Join(out, "mirror"))
	dev := "provider_installation {\n  dev_overrides {\n" + overrides + "  }\n" + mirror + "}\n"
	if err := os.WriteFile(filepath.Join(out, "dev.tofurc"), []byte(dev), 0o644); err != nil {
		return "", err
	}
	config := filepath.Join(out, "tofurc")
	return config, os.WriteFile(config, []byte("provider_installation {\n"+mirror+"}\n"), 0o644)
}

// place copies the program once and links it after that: it is some ten megabytes. What was there is replaced, not written
// into: it may be running.
func place(first *string, program, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if *first != "" {
		return os.Link(*first, to)
	}
	*first = to
	in, err := os.Open(program)
	if err != nil {
		return err
	}
	defer in.Close() // it was only read
	f, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, in); err != nil {
		_ = f.Close() // the copy's error tells more
		return err
	}
	return f.Close()
}
