package tofu

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What all modules have in common needs no provider, so the real tool can judge it wherever there is one.

// common is a folder with the part that all modules share, and an output of what it makes.
func common(t *testing.T) (tool, dir string) {
	t.Helper()
	for _, name := range []string{"tofu", "terraform"} {
		if path, err := exec.LookPath(name); err == nil {
			tool = path
			break
		}
	}
	if tool == "" {
		t.Skip("neither tofu nor terraform is on PATH")
	}
	dir = t.TempDir()
	for _, name := range []string{"variables.tf", "naming.tf"} {
		src, err := fs.ReadFile(Modules(), "hetzner/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), src, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := "output \"made\" {\n  value = { names = local.names, labels = local.labels, rules = local.rule_list, first_boot = local.cloud_init }\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "output.tf"), []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	return tool, dir
}

func run(t *testing.T, tool, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	// Nothing of ours is asked of anybody: no configuration, no look for a newer version.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TF_CLI_CONFIG_FILE=" + os.DevNull, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// values are variables that all modules take.
type values struct {
	Deployment string             `json:"deployment"`
	ID         string             `json:"id"`
	SSHKeys    []string           `json:"ssh_keys"`
	AdminCIDRs []string           `json:"admin_cidrs"`
	Hosts      map[string]machine `json:"hosts"`
}

func good() values {
	return values{
		Deployment: "osmosis-main", ID: testID, SSHKeys: []string{"ssh-ed25519 AAAAC3Nz me@desk"}, AdminCIDRs: []string{"192.0.2.0/24", "2001:db8::/64"},
		Hosts: map[string]machine{
			"validator": {Role: RoleValidator, Region: "r", Size: "s", VolumeGB: 100, Ports: []Port{}},
			"s1":        {Role: RoleSentry, Region: "r", Size: "s", Ports: []Port{{"tcp", 22}, {"udp", 51820}, {"udp", 51820}}},
		},
	}
}

func (v values) write(t *testing.T, dir string) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "terraform.tfvars.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCommonPart(t *testing.T) {
	tool, dir := common(t)
	v := good()
	v.Deployment = strings.Repeat("a", 9) + "-" + strings.Repeat("b", 30)
	v.Hosts[strings.Repeat("h", 40)] = v.Hosts["validator"]
	v.write(t, dir)
	if out, err := run(t, tool, dir, "apply", "-auto-approve", "-input=false", "-no-color"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := run(t, tool, dir, "output", "-json", "made")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var made struct {
		Names     map[string]string
		Labels    map[string]map[string]string
		Rules     map[string]any
		FirstBoot string `json:"first_boot"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	for host, name := range made.Names {
		if want := ResourceName(v.Deployment, v.ID, host); name != want {
			t.Errorf("%s is %q in the module and %q in Go", host, name, want)
		}
	}
	want := map[string]string{"pressenter": testID, "pressenter-deployment": v.Deployment, "pressenter-host": "s1", "pressenter-role": "sentry"}
	if diff := cmp.Diff(want, made.Labels["s1"]); diff != "" {
		t.Error(diff)
	}
	checkRules(t, made.Rules)
	head, text, _ := strings.Cut(made.FirstBoot, "\n")
	var boot map[string]any
	if err := json.Unmarshal([]byte(text), &boot); head != "#cloud-config" || err != nil {
		t.Errorf("the first boot is told %q, %v", head, err)
	}
	if boot["disable_root"] != true || boot["ssh_pwauth"] != false || !strings.Contains(text, v.SSHKeys[0]) {
		t.Errorf("the first boot is told %s", text)
	}
}

// A sentry is open to the world where it has to be; a validator is open to nobody but the operator.
func checkRules(t *testing.T, got map[string]any) {
	t.Helper()
	for _, rule := range []string{
		"s1/tcp-22/0.0.0.0/0", "s1/tcp-22/::/0", "s1/tcp-22/192.0.2.0/24", "s1/udp-51820/0.0.0.0/0", "s1/icmp-0/::/0",
		"validator/tcp-22/192.0.2.0/24", "validator/tcp-22/2001:db8::/64", "validator/icmp-0/192.0.2.0/24",
	} {
		if _, ok := got[rule]; !ok {
			t.Errorf("there is no rule %s", rule)
		}
	}
	for rule := range got {
		if strings.HasPrefix(rule, "validator/") && (strings.HasSuffix(rule, "/0.0.0.0/0") || strings.HasSuffix(rule, "/::/0")) {
			t.Errorf("the rule %s opens the validator to the world", rule)
		}
	}
}

func TestCommonPartRefuses(t *testing.T) {
	tool, dir := common(t)
	host := func(edit func(*machine)) func(*values) {
		return func(v *values) {
			m := v.Hosts["s1"]
			edit(&m)
			v.Hosts["s1"] = m
		}
	}
	for name, c := range map[string]struct {
		edit func(*values)
		want string // in the message; "" is accepted
	}{
		"nothing changed":  {func(*values) {}, ""},
		"no admin":         {func(v *values) { v.AdminCIDRs = []string{} }, ""},
		"no hosts":         {func(v *values) { v.Hosts = map[string]machine{} }, ""},
		"hardware key":     {func(v *values) { v.SSHKeys = []string{"sk-ssh-ed25519@openssh.com AAAAGnNr"} }, ""},
		"private key":      {func(v *values) { v.SSHKeys = []string{"-----BEGIN OPENSSH PRIVATE KEY-----\nabc"} }, "public key file"},
		"two lines":        {func(v *values) { v.SSHKeys = []string{"ssh-ed25519 AAAA me\nruncmd: x"} }, "public key file"},
		"no key":           {func(v *values) { v.SSHKeys = []string{} }, "There must be a key"},
		"too many keys":    {func(v *values) { v.SSHKeys = slices.Repeat(v.SSHKeys, 1000) }, "12000 characters"},
		"inside a network": {func(v *values) { v.AdminCIDRs = []string{"192.0.2.7/24"} }, "CIDR"},
		"bare address":     {func(v *values) { v.AdminCIDRs = []string{"192.0.2.7"} }, "CIDR"},
		"id":               {func(v *values) { v.ID = "0123456789AB" }, "hexadecimal"},
		"deployment":       {func(v *values) { v.Deployment = "Osmosis" }, "deployment's name"},
		"host":             {func(v *values) { v.Hosts["s_2"] = v.Hosts["s1"] }, "host's name"},
		"role":             {host(func(m *machine) { m.Role = "seed" }), "role"},
		"small volume":     {host(func(m *machine) { m.VolumeGB = 9 }), "10 to 10000"},
		"group":            {host(func(m *machine) { m.Group = "a b" }), "group's name"},
		"protocol":         {host(func(m *machine) { m.Ports = []Port{{"sctp", 1}} }), "tcp or udp"},
		"port":             {host(func(m *machine) { m.Ports = []Port{{"tcp", 65536}} }), "tcp or udp"},
	} {
		t.Run(name, func(t *testing.T) {
			v := good()
			c.edit(&v)
			v.write(t, dir)
			out, err := run(t, tool, dir, "plan", "-input=false", "-no-color")
			flat := strings.Join(strings.Fields(strings.ReplaceAll(out, "│", " ")), " ")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(flat, c.want)) {
				t.Errorf("want %q: %v\n%s", c.want, err, out)
			}
		})
	}
}
