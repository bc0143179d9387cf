package ssh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// configs are judged by us and by OpenSSH, for each of the hosts.
var configs = map[string]string{
	"simple": `
Host web
  HostName 203.0.113.9
  User deploy
  Port 2222
  IdentityFile ~/.ssh/one
Host *
  User all
  IdentityFile ~/.ssh/two
  IdentitiesOnly yes
`,
	"equals and quotes": `
Host="web" db
HostName = "db.example.com"   # the other one
  IdentityFile "/keys/with space"
User	tabbed
`,
	"negated": `
Host *.example.com !bad.example.com
  User good
Host ???
  Port 1234
Host bad* web
  User bad
`,
	"match": `
Match host web,db user alice
  Port 1
Match originalhost w*
  HostName real.example.com
Match host real.example.com
  Port 2
Match !host real.example.com
  Port 3
Match all
  User alice
Match user alice
  ProxyJump jump1,bob@jump2:2022
`,
	"final": `
Match final host x.example.com
  Port 77
  User late
Host web
  HostName x.example.com
`,
	"first of jump and command": `
Host web
  ProxyJump a
Host *
  ProxyCommand nc %h %p
Host *
  ProxyJump b
`,
	"exec decided without asking": `
Match host other exec "echo hi"
  User never
Host *
  User me
`,
	"known hosts": `
Host web
  UserKnownHostsFile /a/known "/b/known hosts"
  HostKeyAlias alias.example.com
  AddressFamily inet6
  GlobalKnownHostsFile /dev/null
`,
	"case": `
HOST WEB
  USER upper
hOsT db
  hostname DB.Example.com
`,
	"included": `
Host web
  Include sub/*.conf
Include ~/tilde.conf
`,
}

var included = map[string]string{
	".ssh/sub/1.conf": "Port 41\nHost db\n  Port 42\n",
	".ssh/sub/2.conf": "User fromsub\nHost *\n  IdentityFile /from/sub\n",
	"tilde.conf":      "Host db\n  User fromtilde\nHost *\nPort 43\n",
}

// What we read from a config is what OpenSSH reads.
func TestConfigAsOpenSSH(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh program to compare with")
	}
	home := t.TempDir()
	for name, text := range included {
		writeFile(t, filepath.Join(home, name), text)
	}
	for name, text := range configs {
		// ssh takes the home of the user database, not HOME: the folders are written out for it.
		file := writeFile(t, filepath.Join(t.TempDir(), "config"), strings.NewReplacer("~/", home+"/", "sub/*", home+"/.ssh/sub/*").Replace(text))
		for _, host := range []string{"web", "db", "abc", "x.example.com", "bad.example.com"} {
			t.Run(name+"/"+host, func(t *testing.T) {
				out, err := exec.CommandContext(context.Background(), ssh, "-G", "-F", file, host).Output()
				if err != nil {
					t.Fatal(err)
				}
				want := map[string][]string{}
				for line := range strings.Lines(string(out)) {
					key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
					want[key] = append(want[key], value)
				}
				d := &Dialer{ConfigFile: file, home: home}
				h, jumps, err := d.resolve(Target{Host: host})
				if command := want["proxycommand"]; command != nil {
					if err == nil || !strings.Contains(err.Error(), "proxycommand is not supported") {
						t.Fatalf("error %v with a ProxyCommand", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, j := range jumps {
					names = append(names, j.String())
				}
				compare := map[string][2]string{
					"hostname":     {strings.ToLower(h.host), strings.ToLower(want["hostname"][0])},
					"user":         {h.user, want["user"][0]},
					"port":         {fmt.Sprint(h.port), want["port"][0]},
					"proxyjump":    {strings.Join(names, ","), strings.Join(want["proxyjump"], "")},
					"hostkeyalias": {h.names[0], h.names[0]},
				}
				if h.named {
					files := want["identityfile"]
					for i := range files {
						files[i] = strings.Replace(files[i], "~", home, 1)
					}
					compare["identityfile"] = [2]string{strings.Join(h.identityFiles, "\n"), strings.Join(files, "\n")}
				}
				if alias := want["hostkeyalias"]; alias != nil {
					compare["hostkeyalias"] = [2]string{h.names[0], alias[0]}
				}
				for key, pair := range compare {
					if pair[0] != pair[1] {
						t.Errorf("%s is %q, OpenSSH says %q", key, pair[0], pair[1])
					}
				}
			})
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	home := t.TempDir()
	for name, test := range map[string]struct{ config, want string }{
		"proxy command":   {"Host web\nProxyCommand nc %h %p\n", "config:2: proxycommand is not supported"},
		"match exec":      {"Match exec \"test -e /x\"\n  User a\n", "config:2: whether user is for this host depends"},
		"match exec jump": {"User a\nMatch host web exec true\n  ForwardAgent no\n  ProxyJump b\n", "config:4: whether proxyjump"},
		"port":            {"Port 99999\n", "config:1: the port"},
		"quote":           {"HostName \"a\n", "config:1: a quote is not closed"},
		"nothing":         {"HostName\n", "config:1: hostname says nothing"},
		"circle":          {"Host web\nInclude config\n", "more than 16 deep"},
		"jump":            {"ProxyJump a:b:c\n", "config:1: read SSH target"},
		"token":           {"IdentityFile /x/%C\n", "config:1: identityfile has a token that is not supported"},
		"bind":            {"BindAddress 192.0.2.1\n", "config:1: bindaddress is not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, filepath.Join(home, ".ssh/config"), test.config)
			_, err := (&Dialer{home: home}).route(Target{Host: "web"})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
	t.Run("what is not for this host", func(t *testing.T) {
		writeFile(t, filepath.Join(home, ".ssh/config"), "Match exec true\n  ForwardAgent yes\nHost other\n  ProxyCommand nc\n")
		if _, err := (&Dialer{home: home}).route(Target{Host: "web"}); err != nil {
			t.Error(err)
		}
	})
}

func TestRoute(t *testing.T) {
	home := t.TempDir()
	writeFile(t, filepath.Join(home, ".ssh/config"), `
Host web
  ProxyJump mid,last
Host mid
  HostName 192.0.2.2
  ProxyJump out
Host last
  ProxyJump ignored
Host circle*
  ProxyJump circle2
Host ring1
  ProxyJump ring2
Host ring2
  ProxyJump ring1
Host *
  User u
`)
	route := func(d *Dialer, host string) []string {
		d.home = home
		way, err := d.route(Target{Host: host})
		if err != nil {
			return []string{err.Error()}
		}
		var hops []string
		for _, h := range way {
			hops = append(hops, h.String())
		}
		return hops
	}
	for _, test := range []struct {
		d    *Dialer
		host string
		want []string
	}{
		{&Dialer{}, "web", []string{"bastion 1 of 3 u@out:22", "bastion 2 of 3 u@192.0.2.2:22 through out:22", "bastion 3 of 3 u@last:22 through 192.0.2.2:22", "u@web:22 through last:22"}},
		{&Dialer{Jump: []Target{}}, "web", []string{"u@web:22"}},
		{&Dialer{Jump: []Target{{Host: "mid", Port: 5}}}, "web", []string{"bastion 1 of 1 u@192.0.2.2:5", "u@web:22 through 192.0.2.2:5"}},
		{&Dialer{}, "circle2", []string{"u@circle2:22"}},
	} {
		if d := cmp.Diff(test.want, route(test.d, test.host)); d != "" {
			t.Errorf("%s: %s", test.host, d)
		}
	}
	if got := route(&Dialer{}, "ring1"); !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "more than 8 bastions") }) {
		t.Errorf("a ring of bastions: %v", got)
	}
}

func FuzzConfig(f *testing.F) {
	for _, c := range configs {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "include") {
			t.Skip("reads other files")
		}
		file := writeFile(t, filepath.Join(t.TempDir(), "config"), text)
		readConfig(t.TempDir(), "me", Target{Host: "web"}, file)
	})
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
