package ssh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

func newECDSA(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func ecdsaKey(t *testing.T) ssh.Signer { return signerOf(t, newECDSA(t)) }

func rsaKey(t *testing.T) ssh.Signer { return signerOf(t, newRSA(t)) }

func signerOf(t *testing.T, private any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLookup(t *testing.T) {
	key, other := sshtest.NewKey(t).PublicKey(), sshtest.NewKey(t).PublicKey()
	text := string(ssh.MarshalAuthorizedKey(key))
	for name, test := range map[string]struct {
		line string
		host string
		port int
		want bool
	}{
		"plain":                {"web " + text, "web", 22, true},
		"other port":           {"web " + text, "web", 23, false},
		"port":                 {"[web]:23 " + text, "web", 23, true},
		"list":                 {"a,web,b " + text, "web", 22, true},
		"case":                 {"WEB.example.com " + text, "web.EXAMPLE.com", 22, true},
		"wildcard":             {"*.example.com " + text, "a.example.com", 22, true},
		"negated":              {"*.example.com,!a.example.com " + text, "a.example.com", 22, false},
		"hashed":               {knownhosts.HashHostname("web") + " " + text, "web", 22, true},
		"hashed port":          {knownhosts.HashHostname("[web]:23") + " " + text, "web", 23, true},
		"hashed other":         {knownhosts.HashHostname("web") + " " + text, "db", 22, false},
		"broken hash":          {"|1|x " + text, "web", 22, false},
		"ipv6":                 {"2001:db8::1 " + text, "2001:db8::1", 22, true},
		"ipv6 port":            {"[2001:db8::1]:23 " + text, "2001:db8::1", 23, true},
		"comment":              {"# web " + text, "web", 22, false},
		"after broken lines":   {"web\nweb ssh-ed25519 AAAA\nweb 1024 35 12345\n\x00\nweb " + text, "web", 22, true},
		"authority is no key":  {"@cert-authority web " + text, "web", 22, false},
		"spaces in front":      {"  web " + text, "web", 22, true},
		"carriage return":      {"web " + strings.TrimSpace(text) + "\r\n", "web", 22, true},
		"another key is there": {"web " + string(ssh.MarshalAuthorizedKey(other)) + "web " + text, "web", 22, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, filepath.Join(t.TempDir(), "known"), test.line)
			found, err := lookup(file, pinNames("", test.host, test.port, false))
			if err != nil {
				t.Fatal(err)
			}
			got, err := judge(key, found, "", []string{"web"})
			if err != nil || got != test.want {
				t.Errorf("known: %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	key, other := sshtest.NewKey(t).PublicKey(), ecdsaKey(t).PublicKey()
	ours := func(k ssh.PublicKey) known { return known{key: k, file: "pins", line: 3} }
	users := func(k ssh.PublicKey) known { return known{key: k, file: "known_hosts", line: 7} }
	for name, test := range map[string]struct {
		pinned []known
		known  bool
		err    string
	}{
		"nobody knows it":     {nil, false, ""},
		"ours":                {[]known{ours(key)}, true, ""},
		"the user's":          {[]known{users(key)}, true, ""},
		"one of the user's":   {[]known{users(other), users(key)}, true, ""},
		"ours over user's":    {[]known{ours(key), users(other)}, true, ""},
		"changed, ours":       {[]known{ours(other)}, false, "is pinned in pins:3"},
		"changed, user's":     {[]known{users(other)}, false, "is pinned in known_hosts:7"},
		"ours says otherwise": {[]known{ours(other), users(key)}, false, "is pinned in pins:3"},
		"one of ours only":    {[]known{ours(key), ours(other)}, false, "is pinned in pins:3"},
		"revoked":             {[]known{ours(key), {key: key, revoked: true, file: "known_hosts", line: 1}}, false, "revoked in known_hosts:1"},
		"another is revoked":  {[]known{ours(key), {key: other, revoked: true}}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := judge(key, test.pinned, "pins", []string{"s1", "web"})
			if got != test.known || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("%v, %v", got, err)
			}
			var changed *ChangedKeyError
			if errors.As(err, &changed) {
				if !strings.Contains(err.Error(), ssh.FingerprintSHA256(key)) || !strings.Contains(err.Error(), ssh.FingerprintSHA256(other)) {
					t.Errorf("not both fingerprints are in %q", err)
				}
				want := map[string]string{"pins": "pressenter ssh --forget s1", "known_hosts": "ssh-keygen -R 'web' -f known_hosts"}[changed.File]
				if !strings.HasSuffix(changed.Hint(), want) {
					t.Errorf("hint %q does not end with %q", changed.Hint(), want)
				}
			}
		})
	}
}

func TestHostKeyAlgorithms(t *testing.T) {
	rsa := known{key: rsaKey(t).PublicKey()}
	ec := known{key: ecdsaKey(t).PublicKey()}
	for name, test := range map[string]struct {
		pinned []known
		want   []string
	}{
		"nothing pinned": {nil, []string{"ssh-ed25519"}},
		"ecdsa":          {[]known{ec}, []string{"ecdsa-sha2-nistp256", "ssh-ed25519"}},
		"rsa":            {[]known{rsa}, []string{"rsa-sha2-256", "rsa-sha2-512", "ssh-ed25519"}},
		"both":           {[]known{ec, rsa}, []string{"ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512", "ssh-ed25519"}},
		"revoked":        {[]known{{key: ec.key, revoked: true}}, []string{"ssh-ed25519"}},
	} {
		got := hostKeyAlgorithms(test.pinned)
		if !slices.Equal(got[:len(test.want)], test.want) {
			t.Errorf("%s: %v, want first %v", name, got, test.want)
		}
		if slices.ContainsFunc(got, func(a string) bool { return strings.Contains(a, "cert") }) {
			t.Errorf("%s: certificates in %v", name, got)
		}
	}
}

func TestPinAndForget(t *testing.T) {
	pins := filepath.Join(t.TempDir(), "operator", "known_hosts")
	a, b := sshtest.NewKey(t).PublicKey(), sshtest.NewKey(t).PublicKey()
	for _, p := range []struct {
		names []string
		key   ssh.PublicKey
	}{{pinNames("s1", "192.0.2.1", 22, false), a}, {pinNames("s2", "192.0.2.2", 2222, false), b}} {
		if err := pin(pins, p.names, p.key); err != nil {
			t.Fatal(err)
		}
	}
	// OpenSSH's own reader takes the file.
	if _, err := knownhosts.New(pins); err != nil {
		t.Error(err)
	}
	check := func(name string, want int) {
		t.Helper()
		found, err := lookup(pins, []string{name})
		if err != nil || len(found) != want {
			t.Errorf("%s has %d lines, %v, want %d", name, len(found), err, want)
		}
	}
	for _, name := range []string{"s1", "192.0.2.1", "s2", "[192.0.2.2]:2222"} {
		check(name, 1)
	}
	gone, err := Forget(pins, "s2")
	if err != nil || !slices.Equal(gone, []string{fingerprint(b)}) {
		t.Errorf("forgot %v, %v", gone, err)
	}
	check("s1", 1)
	check("[192.0.2.2]:2222", 0)
	if gone, err := Forget(pins, "s2"); err != nil || gone != nil {
		t.Errorf("forgot again: %v, %v", gone, err)
	}
	if gone, err := Forget(pins+"no", "s2"); err != nil || gone != nil {
		t.Errorf("no file: %v, %v", gone, err)
	}
}

// Half a line that a crash left does not spoil the next.
func TestPinAfterHalfLine(t *testing.T) {
	pins := writeFile(t, filepath.Join(t.TempDir(), "pins"), "s1,192.0.2.1 ssh-ed255")
	if err := pin(pins, []string{"s2"}, sshtest.NewKey(t).PublicKey()); err != nil {
		t.Fatal(err)
	}
	if found, err := lookup(pins, []string{"s2"}); err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestPinsThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pins"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := lookup(filepath.Join(dir, "pins"), []string{"a"}); err == nil {
		t.Error("a folder is taken for an empty file")
	}
}
