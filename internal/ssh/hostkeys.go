package ssh

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" // what known_hosts hashes names with
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// A known is a line of a known_hosts file.
type known struct {
	key     ssh.PublicKey
	revoked bool
	file    string
	line    int
}

// ChangedKeyError says that a server has another key than the one that is pinned.
type ChangedKeyError struct {
	Offered string // fingerprint with its type
	Pinned  []string
	File    string // where the first of Pinned is
	Line    int
	Names   []string // under which it was looked up
	ours    bool
}

func (e *ChangedKeyError) Error() string {
	return fmt.Sprintf("the host key changed: the server has %s, but %s is pinned in %s:%d", e.Offered,
		strings.Join(e.Pinned, " and "), e.File, e.Line)
}

// Hint says what to do: never just to go on.
func (e *ChangedKeyError) Hint() string {
	hint := "somebody may stand in between. If the server was reinstalled, compare the fingerprint on its console: " +
		"ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub. Then "
	if e.ours {
		return hint + "forget the old key: pressenter ssh --forget " + e.Names[0]
	}
	return hint + fmt.Sprintf("remove the old one: ssh-keygen -R '%s' -f %s", e.Names[len(e.Names)-1], e.File)
}

// pinNames are the names under which a host's key is kept and looked up: that of the deployment, and the address.
func pinNames(name, host string, port int, alias bool) []string {
	n := knownhosts.Normalize(address(host, port))
	if alias {
		n = host // an alias stands for itself, whatever the port
	}
	if name == "" || name == n {
		return []string{n}
	}
	return []string{name, n}
}

// lookup reads the lines for one of the names from a file. A line that is not understood is passed over, as OpenSSH does;
// a file that is not there has none.
func lookup(file string, names []string) ([]known, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read known hosts: %w", err)
	}
	var found []known
	line := 0
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		line++
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts(append(bytes.TrimSpace(lines.Bytes()), '\n'))
		if err != nil || marker == "cert-authority" {
			continue
		}
		if slices.ContainsFunc(names, func(n string) bool { return matchHosts(hosts, n) }) {
			found = append(found, known{key: key, revoked: marker == "revoked", file: file, line: line})
		}
	}
	return found, nil
}

// matchHosts says whether the first field of a line is for a name: a list of patterns, or one hashed name.
func matchHosts(hosts []string, name string) bool {
	if len(hosts) == 1 && strings.HasPrefix(hosts[0], "|1|") {
		salt64, hash64, _ := strings.Cut(hosts[0][3:], "|")
		salt, err1 := base64.StdEncoding.DecodeString(salt64)
		want, err2 := base64.StdEncoding.DecodeString(hash64)
		mac := hmac.New(sha1.New, salt)
		mac.Write([]byte(name))
		return err1 == nil && err2 == nil && hmac.Equal(mac.Sum(nil), want)
	}
	return matchList(hosts, name, true) == decided
}

// allKnown are the keys of a hop: ours, then the user's.
func (d *Dialer) allKnown(h hop) (pinned []known, err error) {
	if d.Pins != "" {
		if pinned, err = lookup(d.Pins, h.names); err != nil {
			return nil, err
		}
	}
	for _, file := range h.knownHosts {
		more, err := lookup(file, h.names[len(h.names)-1:])
		if err != nil {
			return nil, err
		}
		pinned = append(pinned, more...)
	}
	return pinned, nil
}

// hostKeyAlgorithms are those to ask a server for: first those of the keys that are pinned. Else a server that has keys of
// several types would show another one than before, which looks like a changed key.
func hostKeyAlgorithms(pinned []known) []string {
	var plain []string
	for _, a := range ssh.SupportedAlgorithms().HostKeys {
		if !strings.Contains(a, "-cert-") {
			plain = append(plain, a)
		}
	}
	rank := func(algorithm string) int {
		for i, k := range pinned {
			t := k.key.Type()
			if !k.revoked && (t == algorithm || t == ssh.KeyAlgoRSA && strings.HasPrefix(algorithm, "rsa-sha2-")) {
				return i
			}
		}
		if algorithm == ssh.KeyAlgoED25519 {
			return len(pinned)
		}
		return len(pinned) + 1
	}
	slices.SortStableFunc(plain, func(a, b string) int { return rank(a) - rank(b) })
	return plain
}

// judge compares the key of a server with those that are pinned. Of the user's lines one must match, as in OpenSSH. Of ours
// all must: two hosts under one name or address are what is to be noticed.
func judge(key ssh.PublicKey, pinned []known, ours string, names []string) (isKnown bool, err error) {
	var wrongOurs, wrongUsers []known
	for _, k := range pinned {
		same := bytes.Equal(k.key.Marshal(), key.Marshal())
		switch {
		case k.revoked && same:
			return false, fmt.Errorf("the host key %s is marked as revoked in %s:%d", fingerprint(key), k.file, k.line)
		case k.revoked:
		case same:
			isKnown = true
		case k.file == ours:
			wrongOurs = append(wrongOurs, k)
		default:
			wrongUsers = append(wrongUsers, k)
		}
	}
	wrong := wrongOurs
	if len(wrong) == 0 && !isKnown {
		wrong = wrongUsers
	}
	if len(wrong) == 0 {
		return isKnown, nil
	}
	changed := &ChangedKeyError{
		Offered: fingerprint(key), Names: names,
		File: wrong[0].file, Line: wrong[0].line, ours: wrong[0].file == ours,
	}
	for _, k := range wrong {
		changed.Pinned = append(changed.Pinned, fingerprint(k.key))
	}
	return false, changed
}

// verify judges a server's key, and asks about one that nobody knows.
func (d *Dialer) verify(ctx context.Context, h hop, key ssh.PublicKey) error {
	d.contact.Lock() // so that one person answers one question at a time, and one host once
	defer d.contact.Unlock()
	pinned, err := d.allKnown(h)
	if err != nil {
		return err
	}
	if ok, err := judge(key, pinned, d.Pins, h.names); ok || err != nil {
		return err
	}
	if d.OnFirstContact == nil {
		return fmt.Errorf("the host key %s is not known", fingerprint(key))
	}
	c := Contact{Target: h.target, Address: h.address(), Bastion: h.label != "", KeyType: key.Type(), Fingerprint: ssh.FingerprintSHA256(key)}
	if err := d.OnFirstContact(ctx, c); err != nil {
		return fmt.Errorf("the host key %s was not accepted: %w", fingerprint(key), err)
	}
	if d.Pins == "" {
		return nil
	}
	return pin(d.Pins, h.names, key)
}

// pin adds a line. It is written in one piece, so that two programs that pin at once both succeed.
func pin(path string, names []string, key ssh.PublicKey) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("pin host key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("pin host key: %w", err)
	}
	defer f.Close()
	line := strings.Join(names, ",") + " " + string(ssh.MarshalAuthorizedKey(key))
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line // a crash may have left half a line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return fmt.Errorf("pin host key in %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("pin host key in %s: %w", path, err)
	}
	return nil
}

// Forget removes the pinned keys of a host from a file of pins, by the name or the address ("host", "[host]:port") it is
// pinned under, and returns their fingerprints. A file that is not there holds none.
func Forget(pins, name string) (fingerprints []string, err error) {
	data, err := os.ReadFile(pins)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("forget host key: %w", err)
	}
	var kept bytes.Buffer
	for line := range bytes.Lines(data) {
		_, hosts, key, _, _, err := ssh.ParseKnownHosts(line)
		if err == nil && slices.Contains(hosts, name) {
			fingerprints = append(fingerprints, fingerprint(key))
			continue
		}
		kept.Write(line)
	}
	if fingerprints == nil {
		return nil, nil
	}
	if err := atomicfile.Write(pins, kept.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("forget host key: %w", err)
	}
	return fingerprints, nil
}

// fingerprint names a public key as people compare it.
func fingerprint(key ssh.PublicKey) string {
	return strings.TrimPrefix(key.Type(), "ssh-") + " " + ssh.FingerprintSHA256(key)
}
