package config

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the files of testdata that hold results")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got), see -update:\n%s", path, diff)
	}
}

// refusals returns the malformed configs of testdata by name, in order. The file is a txtar archive.
func refusals(t testing.TB) (names []string, inputs map[string]string) {
	t.Helper()
	src, err := os.ReadFile("testdata/problems.txtar")
	if err != nil {
		t.Fatal(err)
	}
	inputs = map[string]string{}
	for _, part := range strings.Split("\n"+string(src), "\n-- ")[1:] {
		file, body, _ := strings.Cut(part, " --\n")
		if name, ok := strings.CutSuffix(file, ".yaml"); ok {
			names = append(names, name)
			inputs[name] = body + "\n"
		}
	}
	return names, inputs
}

func TestProblems(t *testing.T) {
	names, inputs := refusals(t)
	if len(names) < 100 || len(names) != len(inputs) {
		t.Errorf("%d cases with %d names", len(names), len(inputs))
	}
	results := "Each NAME.yaml is refused with exactly the lines of NAME.txt. 'go test -update' rewrites the latter.\n"
	for _, name := range names {
		d, err := Parse("pressenter.yaml", []byte(inputs[name]))
		if err == nil {
			t.Errorf("%s is accepted: %+v", name, d)
			continue
		}
		results += fmt.Sprintf("-- %s.yaml --\n%s-- %[1]s.txt --\n%[3]v\n", name, inputs[name], err)
	}
	golden(t, "problems.txtar", []byte(results))
}

// header is the start of a config that needs nothing more.
const header = "apiVersion: pressenter/v1\nkind: Deployment\nname: demo\nchain: practice\nprovider: local\n"

// TestBytes has what cannot be shown in a text file.
func TestBytes(t *testing.T) {
	for _, c := range []struct{ name, input, want string }{
		{"empty", "", "c.yaml:1:1: the file is empty"},
		{"nul", header + "x: a\x00b\n", "c.yaml:6:5: control character U+0000: remove it"},
		{"bell", header + "# \a\n", "c.yaml:6:3: control character U+0007: remove it"},
		{"delete", header + "x: \x7f\n", "c.yaml:6:4: control character U+007F: remove it"},
		{"next line", header + "x: \u0085\n", "c.yaml:6:4: control character U+0085: remove it"},
		{"line separator", header + "x: \u2028\n", "c.yaml:6:4: control character U+2028: remove it"},
		{"carriage return", header + "x: a\rb: c\n", "c.yaml:6:5: control character U+000D: remove it"},
		{"bidi", header + "# \u202e abc\n", "c.yaml:6:3: character U+202E makes text look other than it is: remove it"},
		{"not utf-8", header + "x: \xff\n", "c.yaml:6:4: text is not UTF-8"},
		{"half a character", header + "x: é\xc3\n", "c.yaml:6:5: text is not UTF-8"},
		{"surrogate", header + "x: \xed\xa0\x80\n", "c.yaml:6:4: text is not UTF-8"},
		{"bom", "\ufeff" + header, "c.yaml:1:1: starts with a byte order mark: save the file as UTF-8 without BOM"},
		{"inner bom", header + "\ufeffx: 1\n", "c.yaml:6:1: control character U+FEFF: remove it"},
		{"utf-16", "\xff\xfea\x00", "c.yaml:1:1: text is UTF-16: save the file as UTF-8"},
		{"tab indent", header + "validator:\n\tcount: 1\n", "c.yaml:7:1: tab: use spaces"},
		{"tab value", header + "validator:\t{count: 1}\n", "c.yaml:6:11: tab: use spaces"},
		{"tabs", "\tx:\n\ty:\n", "c.yaml:1:1: tab: use spaces\nc.yaml:2:1: tab: use spaces"},
		{"tab in text", header + "upgrades: {policy: \"a#\tb\"}\n", "c.yaml:6:23: tab: use spaces"},
		{"size", strings.Repeat("#", MaxSize+1), "c.yaml:1:1: larger than 256 KiB"},
		{"lines", header + strings.Repeat("\n", 5000), "c.yaml:5001:1: more than 5000 lines"},
		{"tokens", header + "x: [" + strings.Repeat("a,", 10000) + "]\n", "c.yaml:6:19987: more than 20000 words and signs"},
		{"wide characters", header + "sentries: [{name: é}, {name: ß}, {nam: s3}]\n", "" +
			`c.yaml:6:19: sentries[0].name: "é" is not a name: at most 40 lower-case letters, digits and inner hyphens, a letter first` + "\n" +
			`c.yaml:6:30: sentries[1].name: "ß" is not a name: at most 40 lower-case letters, digits and inner hyphens, a letter first` + "\n" +
			`c.yaml:6:35: sentries[2].nam: unknown key: did you mean "name"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte(c.input))
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParse(t *testing.T) {
	full := Practice("demo")
	full.Sentries = []Sentry{{Name: "s1"}, {Name: "w1"}, {Name: "on"}}
	full.Practice = PracticeNetwork{Validators: 7, BlockTime: 1500 * time.Millisecond}
	one := Practice("demo")
	one.Sentries = []Sentry{{Name: "s1"}}
	yes := Practice("yes")
	for _, c := range []struct {
		name, input string
		want        Deployment
	}{
		{"least", header, Practice("demo")},
		{"separator", "# hello\n---\n" + header, Practice("demo")},
		{"end", header + "...\n# bye\n", Practice("demo")},
		{"no last newline", strings.TrimSpace(header), Practice("demo")},
		{"windows", strings.ReplaceAll(header, "\n", "\r\n"), Practice("demo")},
		{"quoted keys", strings.Replace(header, "name", `"name"`, 1), Practice("demo")},
		{"flow", `{"apiVersion": "pressenter/v1", "kind": "Deployment", "name": "demo", "chain": "practice", "provider": "local"}`, Practice("demo")},
		{"tab in comment", header + "#\tx\n", Practice("demo")},
		{"full", header + "validator: {count: 1}\nsentries:\n- name: s1\n- name: w1\n- name: on\n" +
			"upgrades:\n  policy: ask\npractice: {validators: 7, block_time: 1500ms}\n", full},
		{
			"invited", header + "sentries: [{name: s1, provider: local}, {name: s2, provider: invite}]\n",
			func() Deployment {
				d := Practice("demo")
				d.Sentries[1].Provider = ProviderInvite
				return d
			}(),
		},
		{"one sentry", header + "sentries: [{name: s1}]\n", one},
		{"yes is text", strings.Replace(header, "demo", "yes", 1), yes},
		{
			"existing", "apiVersion: pressenter/v1\nkind: Deployment\nname: demo\nchain: {name: sim, chain_id: sim-1, daemon: simd, binary: simd, bech32_prefix: cosmos, denom: stake, exists: true}\n" +
				"provider: hetzner\nvalidator: {provider: ssh, address: v}\n",
			func() Deployment {
				d := Practice("demo")
				d.Chain = Chain{Name: "sim", ChainID: "sim-1", Daemon: "simd", Binary: "simd", Bech32Prefix: "cosmos", Denom: "stake", Exists: true}
				d.Provider, d.Practice = "hetzner", PracticeNetwork{}
				d.Validator.Machine = Machine{Provider: ProviderSSH, Address: "v"}
				return d
			}(),
		},
		{"empty practice", header + "practice: {}\nvalidator: {}\nupgrades: {}\n", Practice("demo")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("c.yaml", []byte(c.input))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestExamples(t *testing.T) {
	var b strings.Builder
	for _, path := range examples(t) {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(filepath.Base(path), src)
		if err != nil {
			t.Fatal(err)
		}
		rendered, err := Render(*d)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "-- %s --\n%+v\n\n%s", filepath.Base(path), *d, rendered)
		for _, w := range d.Warnings() {
			t.Errorf("%s: %s", path, w)
		}
	}
	golden(t, "examples.golden", []byte(b.String()))
}

func examples(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(paths) < 3 {
		t.Fatal("examples are missing: ", paths, err)
	}
	return paths
}

func TestWarnings(t *testing.T) {
	d := Practice("demo")
	if ws := d.Warnings(); len(ws) != 0 {
		t.Errorf("the default has warnings: %q", ws)
	}
	d.Sentries = d.Sentries[:1]
	want := []string{"sentries: there is only one: whenever it is away the validator is cut off and signs nothing; two or more avoid that"}
	if diff := cmp.Diff(want, d.Warnings()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestManyProblems(t *testing.T) {
	var src strings.Builder
	for i := range 150 {
		fmt.Fprintf(&src, "x%d: 1\n", i)
	}
	_, err := Parse("c.yaml", []byte(src.String()))
	lines := strings.Split(err.Error(), "\n")
	if got, want := lines[len(lines)-1], "and 55 more problems"; len(lines) != 101 || got != want {
		t.Errorf("%d lines, the last is %q, want %q", len(lines), got, want)
	}
}

// TestLarge has the shapes that cost the YAML library the most time and stack.
func TestLarge(t *testing.T) {
	for name, part := range map[string]string{
		"brackets": "[", "braces": "{", "dashes": "- ", "questions": "? ", "keys": "a:\n", "comments": "a: 1 # c\n",
		"tags": "! ", "anchors": "&a ", "quotes": `"" `, "flow": "a,", "colons": "a: ", "newlines": "\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, before := range []string{"", "[", "a: |\n", "a: \""} {
				src := before + strings.Repeat(part, (MaxSize-len(before))/len(part))
				if _, err := Parse("c.yaml", []byte(src)); err == nil {
					t.Errorf("%q and many %q are accepted", before, part)
				}
				short := before + strings.Repeat(part, maxLines-2)
				if _, err := Parse("c.yaml", []byte(short)); err == nil {
					t.Errorf("%q and %d %q are accepted", before, maxLines-2, part)
				}
			}
		})
	}
}

// deployments makes what Parse can return.
func deployments() *rapid.Generator[Deployment] {
	name := rapid.StringMatching(`[a-z]([-a-z0-9]{0,38}[a-z0-9])?`)
	label := rapid.OneOf(name, rapid.SampledFrom([]string{"true", "null", "yes", "n", "on", "e", "s1"}))
	host := label.Filter(func(s string) bool { return s != ValidatorHost && s != "world" && s != "operator" })
	return rapid.Custom(func(t *rapid.T) Deployment {
		d := Practice(label.Draw(t, "name"))
		d.Sentries = nil
		brought := rapid.Bool().Draw(t, "brought")
		bought := !brought && rapid.Bool().Draw(t, "bought")
		if bought {
			d.Provider, d.Validator.Region = "hetzner", "fsn1"
			d.Admin.CIDRs = rapid.SliceOfDistinct(rapid.SampledFrom([]string{"192.0.2.7/32", "0.0.0.0/0", "2001:db8::/64", "::/0"}), rapid.ID).Draw(t, "admin")
			if len(d.Admin.CIDRs) == 0 {
				d.Admin.CIDRs = nil
			}
		}
		if brought {
			d.Provider, d.Validator.Address = ProviderSSH, "root@validator.example.org:2222"
		}
		for _, s := range rapid.SliceOfNDistinct(host, 1, 50, rapid.ID).Draw(t, "sentries") {
			sentry := Sentry{Name: s, Relay: rapid.Bool().Draw(t, "relay")}
			if len(d.Sentries) > 0 && !sentry.Relay && rapid.Bool().Draw(t, "invited") {
				sentry.Provider = ProviderInvite
			} else if bought {
				sentry.Provider = rapid.SampledFrom([]string{"", "vultr", "openstack"}).Draw(t, "cloud")
				sentry.Region = rapid.SampledFrom([]string{"", "nbg1", "GRA11/Ext-Net"}).Draw(t, "region")
				sentry.Size = rapid.SampledFrom([]string{"", "cx22", "vc2-2c-4gb"}).Draw(t, "size")
				sentry.VolumeGB = rapid.SampledFrom([]int{0, 10, 10_000}).Draw(t, "volume")
			} else if brought {
				sentry.Address = fmt.Sprintf("admin@[2001:db8::%x]", len(d.Sentries))
				sentry.VolumeDevice = rapid.SampledFrom([]string{"", "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "/dev/mapper/vg0-chain"}).Draw(t, "device")
				sentry.Public = rapid.SampledFrom([]string{"", "192.0.2.7", "a.example.org", "2001:db8::1"}).Draw(t, "public")
			}
			for _, id := range rapid.SliceOfNDistinct(rapid.StringMatching(`[0-9a-f]{40}`), 0, 3, rapid.ID).Draw(t, "peers") {
				sentry.PrivatePeers = append(sentry.PrivatePeers, id+"@"+rapid.SampledFrom([]string{"192.0.2.1:26656", "a.example.org:1", "[2001:db8::1]:65535"}).Draw(t, "at"))
			}
			d.Sentries = append(d.Sentries, sentry)
		}
		for _, v := range rapid.SliceOfNDistinct(host, 0, 3, rapid.ID).Draw(t, "devices") {
			key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key")
			d.Devices = append(d.Devices, Device{Name: v, Key: base64.StdEncoding.EncodeToString(key)})
		}
		d.Practice.Validators = rapid.IntRange(3, 7).Draw(t, "validators")
		d.Practice.BlockTime = time.Duration(rapid.IntRange(1000, 30000).Draw(t, "block time")) * time.Millisecond
		if rapid.Bool().Draw(t, "private") {
			d.Chain = Chain{
				Name:         label.Filter(func(s string) bool { return s != ChainPractice }).Draw(t, "chain"),
				ChainID:      rapid.StringMatching(`[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?`).Draw(t, "chain id"),
				Daemon:       rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,63}`).Draw(t, "daemon"),
				Binary:       rapid.StringMatching(`[^\p{C}\p{Z}~$](([^\p{C}\p{Z}$]| ){0,20}[^\p{C}\p{Z}$/])?`).Draw(t, "binary"),
				Bech32Prefix: rapid.StringMatching(`[a-z][a-z0-9]{0,19}`).Draw(t, "prefix"),
				Denom:        rapid.StringMatching(`[A-Za-z][A-Za-z0-9/:._-]{2,127}`).Draw(t, "denom"),
			}
		}
		return d
	})
}

func TestRenderIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := deployments().Draw(t, "deployment")
		src, err := Render(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse("c.yaml", src)
		if err != nil {
			t.Fatalf("%v in\n%s", err, src)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Fatalf("-want +got:\n%s\nof\n%s", diff, src)
		}
	})
}

// TestRenderRefuses has deployments that no config says.
func TestRenderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Deployment)
		want   string
	}{
		"name":     {func(d *Deployment) { d.Name = "a\nkind: x" }, `name: "a\nkind: x" is not a name`},
		"version":  {func(d *Deployment) { d.APIVersion = "" }, `apiVersion: expected "pressenter/v1", got ""`},
		"chain":    {func(d *Deployment) { d.Chain.Name = "osmosis" }, `chain: chain "osmosis": networks other than practice`},
		"mixture":  {func(d *Deployment) { d.Chain.Denom = "stake" }, `chain.name: "practice" is taken`},
		"provider": {func(d *Deployment) { d.Provider = "aws" }, `provider: provider "aws" is not implemented`},
		"count":    {func(d *Deployment) { d.Validator.Count = 0 }, `validator.count: 0 (the sentries ask`},
		"sentries": {func(d *Deployment) { d.Sentries = nil }, `sentries: must have at least one`},
		"policy":   {func(d *Deployment) { d.Upgrades.Policy = "" }, `upgrades.policy: policy "": policies other`},
		"time":     {func(d *Deployment) { d.Practice.BlockTime++ }, `practice.block_time: "1.000000001s" is not a duration`},
		"bytes": {func(d *Deployment) {
			d.Chain = Chain{Name: "a", ChainID: "a", Daemon: "a", Binary: "a\xff", Bech32Prefix: "a", Denom: "aaa"}
		}, `cannot be written as YAML`},
	} {
		t.Run(name, func(t *testing.T) {
			d := Practice("demo")
			c.change(&d)
			src, err := Render(d)
			if err == nil {
				t.Fatalf("rendered:\n%s", src)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %q, want %q first", err, c.want)
			}
		})
	}
}

func TestPanicOfTheLibrary(t *testing.T) {
	w := &walk{file: "c.yaml"}
	if root, ok := w.guarded(func() (node, bool) { panic("index out of range") }); ok || root.kind != "" {
		t.Errorf("read as %+v", root)
	}
	if got, want := w.problems.Error(), "c.yaml:1:1: cannot be read as YAML"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, src := range []string{ // versions of the YAML library panicked on these
		"0::", "{{},<<}", "%YAML 1.2\n---\na: 1\nb: 0_\n", "a:\n- b: c\n- \n", "a:\n  - b\n -", "{a: b, : c}", "[: ]", "- - \n - \n",
	} {
		f.Add([]byte(src))
	}
	names, inputs := refusals(f)
	for _, name := range names {
		f.Add([]byte(inputs[name]))
	}
	for _, path := range examples(f) {
		src, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := Parse("c.yaml", src)
		if err != nil {
			checkProblems(t, src, err)
			return
		}
		rendered, err := Render(*d)
		if err != nil {
			t.Fatalf("render what was parsed: %v", err)
		}
		again, err := Parse("c.yaml", rendered)
		if err != nil {
			t.Fatalf("parse what was rendered: %v", err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatalf("-parsed +rendered and parsed:\n%s", diff)
		}
	})
}

// checkProblems checks that each problem says what it is and points into src, in order.
func checkProblems(t *testing.T, src []byte, err error) {
	t.Helper()
	ps, ok := err.(Problems)
	if !ok || len(ps) == 0 {
		t.Fatalf("error is %T: %v", err, err)
	}
	lines, last := bytes.Count(src, []byte("\n"))+1, 0
	for _, p := range ps {
		if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Line < last || p.Message == "" || p.File != "c.yaml" {
			t.Errorf("problem %+v in a file of %d lines, after one on line %d", p, lines, last)
		}
		if strings.ContainsAny(p.String(), "\n\r\x00") {
			t.Errorf("problem is not one line: %q", p)
		}
		last = p.Line
	}
}
