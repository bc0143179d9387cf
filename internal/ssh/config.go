package ssh

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// setting is what a config says under one key, and where.
type setting struct {
	values []string
	place  string // file:line
}

// settings are the keys of ssh_config(5) that say how a host is reached, by key in lower case.
type settings map[string]setting

// first returns the value of a key that has one.
func (s settings) first(key string) string {
	if v := s[key].values; len(v) > 0 {
		return v[0]
	}
	return ""
}

// wanted are the keys that are read. Whether one may be given several times is the value.
var wanted = map[string]bool{
	"hostname": false, "user": false, "port": false, "proxyjump": false, "proxycommand": false, "hostkeyalias": false,
	"identityfile": true, "identitiesonly": false, "identityagent": false, "addressfamily": false,
	"userknownhostsfile": false, "globalknownhostsfile": false,
	"canonicalizehostname": false, "bindaddress": false, "bindinterface": false,
}

// maxInclude is how deep files may include each other, as in OpenSSH.
const maxInclude = 16

// configReader follows ssh_config(5) for one host: of each key the first value counts.
//
// It is not github.com/kevinburke/ssh_config, because that takes the words of "Match host a exec b" for patterns, knows no
// lists with commas after Match host, drops errors of included files and does not say in which line a value is.
type configReader struct {
	home string
	host string // as typed
	user string // as typed, or the local one
	me   string // the local user
	got  settings

	final     bool // second reading, for Match final
	wantFinal bool
	depth     int
}

// readConfig returns what the files say of a target. A file that is not there says nothing.
func readConfig(home, me string, t Target, files ...string) (settings, error) {
	r := &configReader{home: home, host: t.Host, user: t.User, me: me, got: settings{}}
	for range 2 {
		for _, file := range files {
			if err := r.file(file, decided); err != nil {
				return nil, err
			}
		}
		if r.final = true; !r.wantFinal {
			break
		}
	}
	return r.got, nil
}

// verdict is whether a block of the config is for this host.
type verdict int

const (
	no        verdict = iota
	undecided         // a program would have to be run to know
	decided
)

// place is where the reader is: in which block of which line.
type place struct {
	file  string
	line  int
	block verdict
	why   string // of undecided
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

func (r *configReader) file(path string, outer verdict) error {
	if r.depth++; r.depth > maxInclude {
		return fmt.Errorf("read %s: files include each other more than %d deep", path, maxInclude)
	}
	defer func() { r.depth-- }()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read SSH config: %w", err)
	}
	at := place{file: path, block: outer}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		at.line++
		if err := r.line(&at, outer, lines.Text()); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

func (r *configReader) line(at *place, outer verdict, line string) error {
	key, rest := splitKey(line)
	if key == "" {
		return nil
	}
	switch key {
	case "host", "match", "include":
	default:
		if _, ok := wanted[key]; !ok || at.block == no {
			return nil // may be of a form that only its own reader knows
		}
	}
	args, err := splitArgs(rest)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return fmt.Errorf("%s says nothing", key)
	}
	switch key {
	case "host":
		at.block = min(outer, matchList(args, r.host, false))
	case "match":
		at.block, err = r.match(args)
		at.block = min(outer, at.block)
		at.why = line
		return err
	case "include":
		if at.block != no {
			return r.include(args, at)
		}
	case "proxycommand":
		return r.set(at, key, []string{strings.TrimSpace(rest)})
	default:
		return r.set(at, key, args)
	}
	return nil
}

// set notes the first value of a key.
func (r *configReader) set(at *place, key string, args []string) error {
	have, ok := r.got[key]
	// What goes first, ProxyJump or ProxyCommand, counts for both.
	_, jump := r.got["proxyjump"]
	_, command := r.got["proxycommand"]
	if ok && !wanted[key] || key == "proxyjump" && command || key == "proxycommand" && jump {
		return nil
	}
	if at.block == undecided {
		return fmt.Errorf("whether %s is for this host depends on what cannot be asked here: %s; "+
			"write a Host block above it that says it for %s", key, strings.TrimSpace(at.why), r.host)
	}
	if !wanted[key] {
		r.got[key] = setting{args, at.String()}
		return nil
	}
	for _, v := range have.values {
		if v == args[0] {
			return nil
		}
	}
	if !ok {
		have.place = at.String()
	}
	have.values = append(have.values, args[0])
	r.got[key] = have
	return nil
}

func (r *configReader) include(patterns []string, at *place) error {
	for _, p := range patterns {
		switch {
		case strings.HasPrefix(p, "~/"):
			p = filepath.Join(r.home, p[2:])
		case filepath.IsAbs(p):
		case strings.HasPrefix(at.file, "/etc/ssh/"):
			p = filepath.Join("/etc/ssh", p)
		default:
			p = filepath.Join(r.home, ".ssh", p)
		}
		files, err := filepath.Glob(p)
		if err != nil {
			return fmt.Errorf("include %q: %w", p, err)
		}
		for _, file := range files {
			if err := r.file(file, at.block); err != nil {
				return err
			}
		}
	}
	return nil
}

// match judges the criteria of a Match line. One that does not hold decides; one that cannot be judged leaves it open.
func (r *configReader) match(args []string) (verdict, error) {
	result := decided
	for len(args) > 0 {
		name, negated := strings.CutPrefix(strings.ToLower(args[0]), "!")
		args = args[1:]
		var value string
		switch name {
		case "all", "canonical", "final":
		default:
			var inline bool
			if name, value, inline = strings.Cut(name, "="); !inline {
				if len(args) == 0 {
					return no, fmt.Errorf("match %s says nothing", name)
				}
				value, args = args[0], args[1:]
			}
		}
		v := r.criterion(name, value)
		if negated && v != undecided {
			v = decided - v
		}
		result = min(result, v)
	}
	return result, nil
}

func (r *configReader) criterion(name, value string) verdict {
	pick := func(key, otherwise string) string {
		if v := r.got.first(key); v != "" {
			return v
		}
		return otherwise
	}
	list := strings.Split(value, ",")
	switch name {
	case "all":
		return decided
	case "canonical":
		return no // names are not made canonical here
	case "final":
		r.wantFinal = true
		if r.final {
			return decided
		}
		return no
	case "host":
		return matchList(list, strings.ReplaceAll(pick("hostname", r.host), "%h", r.host), true)
	case "originalhost":
		return matchList(list, r.host, true)
	case "user":
		user := r.user
		if user == "" {
			user = pick("user", r.me)
		}
		return matchList(list, user, false)
	case "localuser":
		return matchList(list, r.me, false)
	}
	return undecided // exec, tagged, localnetwork and what comes after this program
}

// matchList judges a list of patterns: one must match and none with ! may. OpenSSH takes upper and lower case for the same
// (fold) everywhere but after Host and for users.
func matchList(patterns []string, s string, fold bool) verdict {
	if fold {
		s = strings.ToLower(s)
	}
	found := no
	for _, p := range patterns {
		if fold {
			p = strings.ToLower(p)
		}
		p, negated := strings.CutPrefix(p, "!")
		if !wildcard(p, s) {
			continue
		}
		if negated {
			return no
		}
		found = decided
	}
	return found
}

// wildcard matches * and ?.
func wildcard(pattern, s string) bool {
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '*':
			rest := strings.TrimLeft(pattern[i:], "*")
			for j := i; j <= len(s); j++ {
				if wildcard(rest, s[j:]) {
					return true
				}
			}
			return false
		case i >= len(s) || pattern[i] != '?' && pattern[i] != s[i]:
			return false
		}
	}
	return len(pattern) == len(s)
}

// splitKey takes the keyword off a line, in lower case. A comment and an empty line have none.
func splitKey(line string) (key, rest string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", ""
	}
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	rest = strings.TrimLeft(line[i:], " \t")
	if after, ok := strings.CutPrefix(rest, "="); ok {
		rest = strings.TrimLeft(after, " \t")
	}
	return strings.ToLower(line[:i]), rest
}

// splitArgs splits what follows a keyword into words. Words may be quoted; what follows a # is a comment.
func splitArgs(s string) ([]string, error) {
	var args []string
	for {
		s = strings.TrimLeft(s, " \t\r\n\f")
		if s == "" || s[0] == '#' {
			return args, nil
		}
		var word strings.Builder
		quote := byte(0)
		i := 0
	scan:
		for ; i < len(s); i++ {
			switch c := s[i]; {
			case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\'' || s[i+1] == '\\' || quote == 0 && s[i+1] == ' '):
				i++
				word.WriteByte(s[i])
			case quote == 0 && (c == ' ' || c == '\t'):
				break scan
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			case quote != 0 && c == quote:
				quote = 0
			default:
				word.WriteByte(c)
			}
		}
		if quote != 0 {
			return nil, errors.New("a quote is not closed")
		}
		args, s = append(args, word.String()), s[i:]
	}
}
