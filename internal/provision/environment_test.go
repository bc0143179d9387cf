package provision

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dumper is a tool that writes down which variables it sees, of a child of its own as well.
func dumper(t *testing.T, name string) (Tool, string) {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "seen")
	path := filepath.Join(dir, name)
	script := "#!/bin/sh\n/bin/sh -c env >> '" + out + "'\n[ \"$1\" = plan ] && : > plan.bin\n[ \"$1 $2\" = 'state pull' ] || echo '{}'\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return Tool{Name: name, Path: path, Version: "1.11.0"}, out
}

func TestEnvironmentIsMinimal(t *testing.T) {
	for _, name := range []string{"PRESSENTER_PASSPHRASE", "SSH_AUTH_SOCK", "DIGITALOCEAN_TOKEN", "TF_VAR_x", "TF_LOG", "LD_PRELOAD_X", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "of ours")
	}
	t.Setenv("HCLOUD_TOKEN", "token")
	t.Setenv("EXTRA", "extra")
	tool, seen := dumper(t, "tofu")
	w := &Workspace{Dir: filepath.Join(t.TempDir(), "w"), Tool: tool, Passphrase: []byte(passphrase), Clouds: []string{"hetzner"}, Extra: []string{"EXTRA"}}
	s := fleet("hetzner", 0)
	p, err := w.Plan(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	p.learns = true // so that it is run
	if err := w.Apply(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	allowed := slices.Concat(passed, []string{
		"HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "EXTRA", "TF_IN_AUTOMATION", "TF_INPUT", "CHECKPOINT_DISABLE", "TF_ENCRYPTION",
		"PWD", "OLDPWD", "SHLVL", "_", // the shell's own
	})
	found := map[string]bool{}
	for l := range strings.Lines(string(b)) {
		name, _, is := strings.Cut(strings.TrimSpace(l), "=")
		if !is || strings.Contains(name, " ") || name == "" || name == "}" {
			continue // a line of TF_ENCRYPTION
		}
		found[name] = true
		if !slices.Contains(allowed, name) {
			t.Errorf("the tool's child sees %s", name)
		}
	}
	for _, want := range []string{"HCLOUD_TOKEN", "EXTRA", "TF_ENCRYPTION", "PATH"} {
		if !found[want] {
			t.Errorf("the tool's child does not see %s", want)
		}
	}
}

func TestTerraformGetsNoPassphrase(t *testing.T) {
	w := &Workspace{Tool: Tool{Name: "terraform"}, Passphrase: []byte(passphrase)}
	env, err := w.environment()
	if err != nil || strings.Contains(strings.Join(env, " "), passphrase) {
		t.Errorf("%v, %v", env, err)
	}
}

func TestPassphraseIsText(t *testing.T) {
	for _, bad := range []string{"", "fifteen letters", strings.Repeat("\xff", 32)} {
		if _, err := encryption([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	text, err := encryption([]byte("with ${a.template} and %{if} and \"quotes\""))
	if err != nil || !strings.Contains(text, `$${a.template} and %%{if} and \"quotes\"`) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	banner := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+text+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ text, name, version string }{
		{"OpenTofu v1.8.0", "tofu", "1.8.0"},
		{"OpenTofu v2.0.0-beta1", "tofu", "2.0.0-beta1"},
		{"Terraform v1.6.2", "terraform", "1.6.2"},
		{"OpenTofu v1.7.9", "", ""},
		{"Terraform v1.5.7", "", ""},
		{"GNU sed 4.9", "", ""},
	} {
		got, err := Find(t.Context(), banner("tool", c.text), Fetcher{})
		if got.Name != c.name || got.Version != c.version || (err == nil) != (c.name != "") {
			t.Errorf("%s: %+v, %v", c.text, got, err)
		}
	}
	nowhere := Fetcher{archives: map[string]string{}}
	t.Setenv("PATH", dir)
	if _, err := Find(t.Context(), "", nowhere); err == nil || !strings.Contains(hint(err), "opentofu.org") {
		t.Errorf("no tool: %v (%s)", err, hint(err))
	}
	banner("terraform", "Terraform v1.11.4")
	if got, err := Find(t.Context(), "", nowhere); err != nil || got.Name != "terraform" {
		t.Errorf("only Terraform: %+v, %v", got, err)
	}
	banner("tofu", "OpenTofu v1.12.6")
	if got, err := Find(t.Context(), "", nowhere); err != nil || got.Name != "tofu" {
		t.Errorf("both: %+v, %v", got, err)
	}
}
