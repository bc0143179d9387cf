package tofu

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func TestEveryCloudHasItsModule(t *testing.T) {
	var dirs, names []string
	for _, x := range trees(t, "modules") {
		dirs = append(dirs, x.cloud())
	}
	for _, c := range Clouds() {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, dirs); diff != "" {
		t.Error(diff)
	}
	sub, err := fs.ReadDir(Modules(), "hetzner")
	if err != nil || len(sub) < 4 {
		t.Errorf("Modules has %v, %v for hetzner", sub, err)
	}
}

// Whoever calls one module can call all, with the same values and the same checks.
func TestModulesAreAlike(t *testing.T) {
	for _, shared := range []string{"variables.tf", "naming.tf"} {
		want, err := fs.ReadFile(Modules(), path.Join("hetzner", shared))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range Clouds() {
			got, err := fs.ReadFile(Modules(), path.Join(c.Name, shared))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s/%s differs from hetzner's:\n%s", c.Name, shared, diff)
			}
		}
	}
	for _, x := range trees(t, "modules") {
		var variables []string
		for _, v := range x.all("variable") {
			variables = append(variables, v.Labels[0])
		}
		if want := []string{"deployment", "id", "ssh_keys", "admin_cidrs", "hosts"}; !slices.Equal(variables, want) {
			t.Errorf("%s takes %v, want %v", x.dir, variables, want)
		}
	}
}

func TestModulesGiveTheSame(t *testing.T) {
	want := []string{"private_ip", "provider_id", "public_ipv4", "public_ipv6", "region", "ssh_user", "volume_device"}
	for _, x := range trees(t, "modules") {
		outputs := x.all("output")
		if len(outputs) != 1 || outputs[0].Labels[0] != "hosts" {
			t.Errorf("%s has the outputs %v, want hosts alone", x.dir, outputs)
			continue
		}
		value, ok := outputs[0].Body.Attributes["value"].Expr.(*hclsyntax.ForExpr)
		if !ok || x.text(value.CollExpr) != "var.hosts" {
			t.Errorf("%s: hosts is not made from var.hosts", x.dir)
			continue
		}
		var got []string
		for _, item := range value.ValExpr.(*hclsyntax.ObjectConsExpr).Items {
			got = append(got, x.text(item.KeyExpr))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s gives %v, want %v", x.dir, got, want)
		}
	}
}

var secretive = regexp.MustCompile(`(?i)passw|secret|token|private_key|mnemonic|api_key|credential`)

// What users of such configurations suffer from most, as rules.
func TestModulesKeepTheRules(t *testing.T) {
	for _, x := range trees(t, "modules") {
		for _, b := range x.blocks {
			switch b.Type {
			case "terraform", "variable", "locals", "data", "output":
			case "resource":
				checkResource(t, x, b)
			default:
				t.Errorf("%s has a block %s", x.dir, b.Type)
			}
		}
		for _, kind := range []string{"variable", "output"} {
			for _, b := range x.all(kind) {
				if secretive.MatchString(b.Labels[0]) {
					t.Errorf("%s: %s %s looks like a secret", x.dir, kind, b.Labels[0])
				}
			}
		}
	}
}

func checkResource(t *testing.T, x tree, b *hclsyntax.Block) {
	t.Helper()
	if b.Labels[0] == "null_resource" || b.Labels[0] == "terraform_data" {
		t.Errorf("%s: waiting and setting up are done over SSH", x.name(b))
	}
	each, ok := b.Body.Attributes["for_each"]
	if !ok {
		t.Errorf("%s has no for_each", x.name(b))
	} else if !regexp.MustCompile(`^(var\.hosts|local\.\w+|toset\(.*\))$`).MatchString(x.text(each.Expr)) {
		t.Errorf("%s is made for each of %s, which may not be keyed by a stable name", x.name(b), x.text(each.Expr))
	}
	if _, ok := b.Body.Attributes["count"]; ok {
		t.Errorf("%s is counted: removing one would rename the others", x.name(b))
	}
	for _, in := range inner(b.Body) {
		if in.Type == "provisioner" || in.Type == "connection" {
			t.Errorf("%s has a %s", x.name(b), in.Type)
		}
		if a, ok := in.Body.Attributes["prevent_destroy"]; ok {
			t.Errorf("%s has prevent_destroy = %s: it breaks removal, and vanishes with its block", x.name(b), x.text(a.Expr))
		}
	}
	for attr := range b.Body.Attributes {
		if secretive.MatchString(attr) {
			t.Errorf("%s sets %s", x.name(b), attr)
		}
	}
	if a, ok := b.Body.Attributes["name"]; ok && !regexp.MustCompile(`local\.(names|prefix)`).MatchString(x.text(a.Expr)) {
		t.Errorf("%s: the name %s is without the deployment's id", x.name(b), x.text(a.Expr))
	}
}

// servers are the machines themselves, and what must never replace one: what is read once, at the first boot, and what a
// provider does not read back, so that an imported machine seems to lack it.
var servers = map[string][]string{
	"hcloud_server":                 {"ssh_keys", "user_data", "image", "public_net"},
	"digitalocean_droplet":          {"ssh_keys", "user_data", "image", "droplet_agent"},
	"vultr_instance":                {"ssh_key_ids", "user_data", "os_id", "reserved_ip_id", "user_scheme"},
	"openstack_compute_instance_v2": {"key_pair", "user_data", "image_id", "image_name", "config_drive", "network", "scheduler_hints"},
	"exoscale_compute_instance":     {"ssh_keys", "user_data", "template_id", "private", "block_storage_volume_ids"},
	"aws_instance":                  {"key_name", "user_data", "ami"},
	"google_compute_instance":       {"metadata", "boot_disk[0].initialize_params[0].image"},
}

func TestNothingThatIsNotReadBackReplacesAMachine(t *testing.T) {
	for _, x := range trees(t, "modules") {
		found := false
		for _, b := range x.all("resource") {
			want, ok := servers[b.Labels[0]]
			if !ok {
				continue
			}
			found = true
			var ignored string
			for _, in := range b.Body.Blocks {
				if a, ok := in.Body.Attributes["ignore_changes"]; ok && in.Type == "lifecycle" {
					ignored = x.text(a.Expr)
				}
			}
			for _, attr := range want {
				if !strings.Contains(ignored, attr) {
					t.Errorf("%s ignores %q, want %s as well", x.name(b), ignored, attr)
				}
			}
		}
		if !found {
			t.Errorf("%s has no machine that this test knows", x.dir)
		}
	}
}

// The defaults that a preflight checks are those that a module uses.
func TestDefaultImages(t *testing.T) {
	for _, c := range Clouds() {
		if c.Image == "" {
			continue // found by the module
		}
		src, err := fs.ReadFile(Modules(), c.Name+"/main.tf")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(src), `: "`+c.Image+`"`) {
			t.Errorf("the module %s does not use %q", c.Name, c.Image)
		}
		if c.Images["debian-12"] != c.Image {
			t.Errorf("%s: the default image is %q, Debian 12 is %q", c.Name, c.Image, c.Images["debian-12"])
		}
	}
}

func TestVersionsArePinned(t *testing.T) {
	for _, kind := range []string{"modules", "sweep", "preflight"} {
		for _, x := range trees(t, kind) {
			c, ok := Lookup(x.cloud())
			if !ok {
				t.Errorf("%s is of no cloud", x.dir)
				continue
			}
			src := string(x.src[x.dir+"/versions.tf"])
			for _, want := range []string{
				"    " + c.Provider.Local + " = {\n", `source  = "` + c.Provider.Source + `"`, `version = "` + c.Provider.Version + `"`,
			} {
				if !strings.Contains(src, want) {
					t.Errorf("%s/versions.tf lacks %q", x.dir, want)
				}
			}
		}
	}
}

func TestUnverifiedModulesSaySo(t *testing.T) {
	for _, c := range Clouds() {
		src, err := fs.ReadFile(Modules(), c.Name+"/main.tf")
		if err != nil {
			t.Fatal(err)
		}
		if says := strings.HasPrefix(string(src), "# UNVERIFIED"); says == c.Verified || Verified(c.Name) != c.Verified {
			t.Errorf("%s: verified %v, the module says %v", c.Name, c.Verified, !says)
		}
	}
	if Verified("no-such-cloud") {
		t.Error("a cloud that is not there is verified")
	}
}

// Sizes and images exist for every role, and a sweep's claims are of types that the modules make.
func TestCloudsAreComplete(t *testing.T) {
	for _, x := range trees(t, "modules") {
		c, _ := Lookup(x.cloud())
		for _, role := range all {
			if c.Sizes[role] == "" {
				t.Errorf("%s has no size for a %s", c.Name, role)
			}
		}
		if len(c.Regions) < 3 || len(c.Environment) == 0 {
			t.Errorf("%s: %d regions, %d variables", c.Name, len(c.Regions), len(c.Environment))
		}
		if c.Name == "aws" {
			continue // one data source finds whatever has a tag
		}
		known := append(slices.Clone(c.Swept), c.Journalled...)
		for _, b := range x.all("resource") {
			kind := b.Labels[0]
			tied := regexp.MustCompile(`_assignment$|_associate_v2$|_volume_attach_v2$`).MatchString(kind) // goes with what it ties
			if !tied && !slices.Contains(known, kind) {
				t.Errorf("%s: neither a sweep nor the journal is said to find %s", c.Name, kind)
			}
		}
		for _, kind := range known {
			if !slices.ContainsFunc(x.all("resource"), func(b *hclsyntax.Block) bool { return b.Labels[0] == kind }) {
				t.Errorf("%s: the module makes no %s", c.Name, kind)
			}
		}
	}
}
