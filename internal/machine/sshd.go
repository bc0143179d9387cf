package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pressenter/pressenter/internal/health"
)

const (
	sshdConfig = "/etc/ssh/sshd_config"
	sshdDropIn = "/etc/ssh/sshd_config.d/10-pressenter.conf"
)

// sshdWanted is what sshd is told, in its own order of words. Left as they are: forwarding of TCP, which leads to a node's
// RPC and makes a host a bastion, and how many keys somebody may try, since an agent may hold many.
var sshdWanted = []struct{ key, value string }{
	{"PasswordAuthentication", "no"},
	{"KbdInteractiveAuthentication", "no"},
	{"PermitEmptyPasswords", "no"},
	{"PermitRootLogin", "prohibit-password"},
	{"X11Forwarding", "no"},
	{"AllowAgentForwarding", "no"},
	{"LoginGraceTime", "30"},
	{"ClientAliveInterval", "60"},
	{"ClientAliveCountMax", "3"},
}

// sshdText is the drop-in. What sshd allows root by other files is never widened.
func sshdText(root string) string {
	var b strings.Builder
	b.WriteString("# Made by pressenter, which puts it back. To undo: remove this file, then 'systemctl reload ssh'.\n")
	for _, w := range sshdWanted {
		if w.key == "PermitRootLogin" && (root == "no" || root == "forced-commands-only") {
			continue
		}
		fmt.Fprintf(&b, "%s %s\n", w.key, w.value)
	}
	return b.String()
}

// includes finds the line of sshd_config that has drop-ins read. One inside a Match block would hold for few.
var includes = regexp.MustCompile(`(?i)^\s*include\s+(\S+\s+)*"?/etc/ssh/sshd_config\.d/\*\.conf"?(\s|$)`)

func readsDropIns(config string) bool {
	for line := range strings.Lines(config) {
		if includes.MatchString(line) {
			return true
		}
		if strings.EqualFold(first(line), "match") {
			return false
		}
	}
	return false
}

func first(line string) string {
	if f := strings.Fields(line); len(f) > 0 {
		return f[0]
	}
	return ""
}

// sshdSettings are what sshd -T prints: the settings that hold, by their names in lower case.
type sshdSettings map[string][]string

func parseSSHD(said string) sshdSettings {
	s := sshdSettings{}
	for line := range strings.Lines(said) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		s[key] = append(s[key], value)
	}
	return s
}

func (s sshdSettings) one(key string) string {
	if v := s[strings.ToLower(key)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// loose are the wanted settings that do not hold.
func (s sshdSettings) loose() (bad []string) {
	for _, w := range sshdWanted {
		has := s.one(w.key)
		switch {
		case has == w.value || has == "":
		case w.key == "PermitRootLogin" && has != "yes": // without-password, forced-commands-only, no
		case w.key == "LoginGraceTime" || strings.HasPrefix(w.key, "ClientAlive"): // a matter of taste
		default:
			bad = append(bad, w.key+" "+has)
		}
	}
	return bad
}

// askSSHD returns what holds for a user of this machine.
func askSSHD(ctx context.Context, user string) (sshdSettings, error) {
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // missing where a socket starts sshd, which then refuses to tell
		return nil, err
	}
	said, err := output(ctx, "sshd", "-T", "-C", "user="+user+",host=localhost,addr=127.0.0.1")
	return parseSSHD(said), err
}

// Visit is how whoever asked for a change came in.
type Visit struct {
	User       string         `json:"user"`
	From       netip.AddrPort `json:"from"`
	ServerPort uint16         `json:"server_port"`
}

// FindVisit looks for the SSH connection that this process came by, in what its parents were given: sudo does not pass it
// on. It is false for who sits at the console.
func FindVisit() (Visit, bool) {
	for pid := os.Getpid(); pid > 1; pid = parent(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			return Visit{}, false
		}
		env := map[string]string{}
		for _, pair := range strings.Split(string(b), "\x00") {
			key, value, _ := strings.Cut(pair, "=")
			env[key] = value
		}
		if v, ok := parseVisit(env); ok {
			return v, true
		}
	}
	return Visit{}, false
}

func parseVisit(env map[string]string) (Visit, bool) {
	f := strings.Fields(env["SSH_CONNECTION"])
	if len(f) != 4 {
		return Visit{}, false
	}
	from, err := netip.ParseAddrPort(net4(f[0], f[1]))
	port, bad := strconv.ParseUint(f[3], 10, 16)
	if err != nil || bad != nil || port == 0 {
		return Visit{}, false
	}
	return Visit{User: env["USER"], From: from, ServerPort: uint16(port)}, true
}

func net4(host, port string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]:" + port
	}
	return host + ":" + port
}

// parent is the parent of a process; 0 if it cannot be told.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	stat := string(b)
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:]) // the name before it may hold anything
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// SSHPorts are the TCP ports at which this machine takes SSH: the one that v came by, those of sshd's configuration, and
// those of the socket that starts it.
func SSHPorts(ctx context.Context, v Visit) []uint16 {
	var ports []uint16
	add := func(s string) {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil && n != 0 {
			ports = append(ports, uint16(n))
		}
	}
	add(fmt.Sprint(v.ServerPort))
	if said, err := askSSHD(ctx, "root"); err == nil {
		for _, p := range said["port"] {
			add(p)
		}
		for _, l := range said["listenaddress"] {
			add(l[strings.LastIndex(l, ":")+1:])
		}
	}
	if activeUnit(ctx, "ssh.socket") != "" {
		said, _ := output(ctx, "systemctl", "show", "--property=Listen", "ssh.socket")
		for _, f := range strings.Fields(said) {
			add(f[strings.LastIndex(f, ":")+1:])
		}
	}
	if len(ports) == 0 {
		ports = []uint16{22}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// sshdChange is what has to change of sshd's configuration, none if nothing has; or why it is left as it is.
func sshdChange(ctx context.Context, v Visit, found bool) (*changedFile, *health.Finding, error) {
	leave := func(code, message, next string) (*changedFile, *health.Finding, error) {
		return nil, &health.Finding{Code: code, Severity: health.Warning, Subject: "sshd", Message: message, Next: next}, nil
	}
	if _, err := program("sshd"); err != nil || activeUnit(ctx, "ssh.service", "ssh.socket", "sshd.service") == "" {
		return leave("ssh-other", "SSH is not served by OpenSSH under systemd here, so it was left as it is.", "See yourself that it takes no passwords.")
	}
	config, err := os.ReadFile(sshdConfig)
	if err != nil {
		return nil, nil, err
	}
	if !readsDropIns(string(config)) {
		return leave("ssh-no-include", sshdConfig+" reads no drop-ins, so sshd was left as it is.",
			"Put 'Include /etc/ssh/sshd_config.d/*.conf' at the top of "+sshdConfig+", then run 'pressenter harden'.")
	}
	now, err := askSSHD(ctx, v.User)
	if err != nil {
		return leave("ssh-broken", fmt.Sprintf("sshd does not understand its own configuration, so it was left as it is: %v.", err), "Mend it: at its next start sshd would not run.")
	}
	text := sshdText(now.one("permitrootlogin"))
	if same(sshdDropIn, text) {
		return nil, overruledSSHD(now), nil
	}
	if !found {
		return leave("ssh-no-visit", "the set-up did not come by SSH, so nobody could prove that the way in still works, and sshd was left as it is.", "Run 'pressenter harden' from where the deployment's folder is.")
	}
	switch how := cameBy(ctx, v); {
	case how != "" && how != "publickey":
		return leave("ssh-password", fmt.Sprintf("%s came in by %s, which would not be taken any more, so sshd was left as it is.", v.User, how),
			"Put a public key into ~/.ssh/authorized_keys of that user, then run 'pressenter harden'.")
	case how == "" && !hasKey(now, v.User):
		return leave("ssh-no-key", fmt.Sprintf("%s has no authorized key, so sshd was left as it is.", v.User),
			"Put a public key into ~/.ssh/authorized_keys of that user, then run 'pressenter harden'.")
	}
	return &changedFile{sshdDropIn, text}, nil, nil
}

// overruledSSHD says what of ours does not hold although sshd reads it: a file before it says otherwise.
func overruledSSHD(now sshdSettings) *health.Finding {
	bad := now.loose()
	if len(bad) == 0 {
		return nil
	}
	return &health.Finding{
		Code: "ssh-overruled", Severity: health.Warning, Subject: "sshd",
		Message: fmt.Sprintf("sshd has %s: a file that it reads before %s says so.", strings.Join(bad, ", "), sshdDropIn),
		Next:    "Look at the files in /etc/ssh/sshd_config.d that sort before it, and at what stands above the Include line.",
	}
}

// cameBy is how a visitor proved who it is, as sshd logged it; empty if that is not in the journal.
func cameBy(ctx context.Context, v Visit) string {
	said, _ := output(ctx, "journalctl", "--boot", "--no-pager", "--output=cat", "--lines=5000", "-t", "sshd", "-t", "sshd-session", "-t", "sshd-auth")
	return howAccepted(said, v)
}

func howAccepted(log string, v Visit) (how string) {
	end := fmt.Sprintf(" from %s port %d ", v.From.Addr(), v.From.Port())
	for line := range strings.Lines(log) {
		rest, ok := strings.CutPrefix(line, "Accepted ")
		if ok && strings.Contains(strings.TrimSpace(rest)+" ", end) {
			how, _, _ = strings.Cut(rest, " ")
		}
	}
	return how
}

// hasKey says whether a user can come in by a key.
func hasKey(now sshdSettings, name string) bool {
	if c := now.one("authorizedkeyscommand"); c != "" && c != "none" {
		return true // it is asked elsewhere
	}
	home := homeOf(name)
	for _, file := range strings.Fields(now.one("authorizedkeysfile")) {
		file = strings.NewReplacer("%h", home, "%u", name, "%%", "%").Replace(file)
		if !filepath.IsAbs(file) {
			file = filepath.Join(home, file)
		}
		if b, err := os.ReadFile(file); err == nil && holdsKey(string(b)) {
			return true
		}
	}
	return false
}

func holdsKey(file string) bool {
	for line := range strings.Lines(file) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return true
		}
	}
	return false
}

// reloadSSHD has sshd read its configuration, if it understands it. Who is connected stays so.
func reloadSSHD(ctx context.Context) error {
	if _, err := output(ctx, "sshd", "-t"); err != nil {
		return fmt.Errorf("sshd refuses its configuration: %w", err)
	}
	_, err := output(ctx, "systemctl", "try-reload-or-restart", "ssh.service")
	return err
}

// removeSSHD takes our settings away.
func removeSSHD(ctx context.Context) error {
	if err := os.Remove(sshdDropIn); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return reloadSSHD(ctx)
}
