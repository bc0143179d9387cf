package ssh

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxJumps bounds the way, because configs can send each other in a circle.
const maxJumps = 8

// hop is one server on the way, with all that is needed to log in there.
type hop struct {
	target  Target
	label   string // "", or which bastion it is
	through string // the bastion before it
	user    string
	host    string // what is dialed
	port    int
	network string // tcp, tcp4, tcp6

	names      []string // under which its key is looked up
	knownHosts []string // files of the user and of the system

	identityFiles  []string
	named          bool // the files were named, not the usual ones
	identitiesOnly bool
	agent          string // socket; empty for none
	noAgent        bool   // the environment names none
}

func (h hop) address() string { return address(h.host, h.port) }

func (h hop) String() string {
	s := fmt.Sprintf("%s@%s", h.user, h.address())
	if h.label != "" {
		s = h.label + " " + s
	}
	if h.through != "" {
		s += " through " + h.through
	}
	return s
}

// route finds the servers on the way to a target, which is the last.
func (d *Dialer) route(t Target) ([]hop, error) {
	last, jumps, err := d.resolve(t)
	if err != nil {
		return nil, err
	}
	if d.Jump != nil {
		jumps = d.Jump
	}
	var way []hop
	for depth := 0; len(jumps) > 0; depth++ {
		var hops []hop
		var before []Target
		for i, j := range jumps {
			h, of, err := d.resolve(j)
			if err != nil {
				return nil, err
			}
			if i == 0 && d.Jump == nil {
				before = of // of the others the list says how they are reached
			}
			hops = append(hops, h)
		}
		if way = append(hops, way...); len(way) > maxJumps || depth > maxJumps {
			return nil, &Error{
				Step: StepConfig, Host: t.String(), Err: fmt.Errorf("more than %d bastions on the way", maxJumps),
				hint: "look at ProxyJump in ~/.ssh/config: it may lead in a circle",
			}
		}
		jumps = before
	}
	for i := range way {
		way[i].label = fmt.Sprintf("bastion %d of %d", i+1, len(way))
	}
	way = append(way, last)
	for i := range way[1:] {
		way[i+1].through = way[i].address()
	}
	return way, nil
}

// resolve asks the config about one server. It returns the bastions that the config wants before it, too.
func (d *Dialer) resolve(t Target) (hop, []Target, error) {
	fail := func(err error, hint string) (hop, []Target, error) {
		return hop{}, nil, &Error{Step: StepConfig, Host: t.String(), Err: err, hint: hint}
	}
	if err := checkHost(t.Host, strings.Contains(t.Host, ":")); err != nil {
		return fail(err, "")
	}
	me := localUser()
	s, err := readConfig(d.homeDir(), me, t, d.configFiles()...)
	if err != nil {
		return fail(err, "correct the SSH config, or name another with ConfigFile")
	}
	if err := refuse(s); err != nil {
		return fail(err, "use ProxyJump, or name the server in other words than this alias: user@address:port")
	}
	h := hop{target: t, network: networks[s.first("addressfamily")]}
	h.host = cmp.Or(s.first("hostname"), t.Host)
	h.host = strings.Trim(strings.NewReplacer("%%", "%", "%h", t.Host).Replace(h.host), "[]")
	if h.port = t.Port; h.port == 0 {
		h.port = 22
		if p := s.first("port"); p != "" {
			if h.port, err = parsePort(p); err != nil {
				return fail(fmt.Errorf("%s: %w", s["port"].place, err), "")
			}
		}
	}
	h.user = cmp.Or(t.User, s.first("user"), me)
	h.names = pinNames(t.Name, cmp.Or(s.first("hostkeyalias"), h.host), h.port, s.first("hostkeyalias") != "")
	if err := d.files(&h, s, me); err != nil {
		return fail(err, "")
	}
	jumps, err := parseJumps(s)
	if err != nil {
		return fail(err, "")
	}
	if slices.ContainsFunc(jumps, func(j Target) bool { return j.Host == t.Host }) {
		jumps = nil // "Host *" with a ProxyJump is meant for all but the bastion
	}
	return h, jumps, nil
}

var networks = map[string]string{"": "tcp", "any": "tcp", "inet": "tcp4", "inet6": "tcp6"}

func (d *Dialer) configFiles() []string {
	switch d.ConfigFile {
	case "":
		return []string{d.sshDir("config"), "/etc/ssh/ssh_config"}
	case NoFile:
		return nil
	}
	return []string{d.ConfigFile}
}

// refuse finds what would lead elsewhere than this program goes.
func refuse(s settings) error {
	for _, key := range []string{"proxycommand", "bindaddress", "bindinterface", "canonicalizehostname"} {
		if v := s.first(key); v != "" && v != "none" && v != "no" {
			return fmt.Errorf("%s: %s is not supported", s[key].place, key)
		}
	}
	return nil
}

func parseJumps(s settings) ([]Target, error) {
	v := s.first("proxyjump")
	if v == "" || strings.EqualFold(v, "none") {
		return nil, nil
	}
	var jumps []Target
	for one := range strings.SplitSeq(v, ",") {
		one = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(one), "ssh://"), "/")
		t, err := ParseTarget(one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s["proxyjump"].place, err)
		}
		jumps = append(jumps, t)
	}
	return jumps, nil
}

// files finds the key files, the agent and the known_hosts that are for a hop.
func (d *Dialer) files(h *hop, s settings, me string) error {
	tokens := strings.NewReplacer("%%", "%", "%d", d.homeDir(), "%h", h.host, "%n", h.target.Host, "%p", strconv.Itoa(h.port),
		"%r", h.user, "%u", me, "%i", strconv.Itoa(os.Getuid()), "%k", cmp.Or(s.first("hostkeyalias"), h.target.Host))
	expand := func(key, path string) (string, error) {
		path = tokens.Replace(path)
		if i := strings.IndexByte(path, '%'); i >= 0 && !strings.Contains(strings.Join(s[key].values, " "), "%%") {
			return "", fmt.Errorf("%s: %s has a token that is not supported: %q", s[key].place, key, path)
		}
		path = os.Expand(path, func(name string) string { return os.Getenv(name) })
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(d.homeDir(), rest)
		}
		return path, nil
	}
	all := func(key string, values []string) (paths []string, err error) {
		for _, v := range values {
			path, bad := expand(key, v)
			if v != NoFile {
				paths = append(paths, path)
			}
			err = errors.Join(err, bad)
		}
		return paths, err
	}
	var errs [4]error
	h.identityFiles, errs[0] = all("identityfile", s["identityfile"].values)
	h.identityFiles = append(slices.Clone(d.Identities), h.identityFiles...)
	if h.named = len(d.Identities)+len(s["identityfile"].values) > 0; !h.named {
		h.identityFiles = []string{d.sshDir("id_ed25519"), d.sshDir("id_ecdsa"), d.sshDir("id_rsa")}
	}
	h.identitiesOnly = d.IdentitiesOnly || s.first("identitiesonly") == "yes"
	known := s["userknownhostsfile"].values
	if known == nil {
		known = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	h.knownHosts, errs[1] = all("userknownhostsfile", known)
	global := s["globalknownhostsfile"].values
	if global == nil {
		global = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	global, errs[2] = all("globalknownhostsfile", global)
	h.knownHosts = append(h.knownHosts, global...)
	switch name := cmp.Or(d.Agent, s.first("identityagent"), "SSH_AUTH_SOCK"); {
	case name == NoFile:
	case name == "SSH_AUTH_SOCK":
		h.agent = os.Getenv(name)
		h.noAgent = h.agent == ""
	default:
		h.agent, errs[3] = expand("identityagent", name)
	}
	return errors.Join(errs[:]...)
}

func localUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return cmp.Or(os.Getenv("USER"), "root")
}
