package machine

import (
	"net/netip"
	"strings"
	"testing"
)

func TestReadsDropIns(t *testing.T) {
	for config, want := range map[string]bool{
		"\nInclude /etc/ssh/sshd_config.d/*.conf\nPort 22\n":                 true,
		"  include \"/etc/ssh/sshd_config.d/*.conf\"\n":                      true,
		"Include /etc/other.conf /etc/ssh/sshd_config.d/*.conf\n":            true,
		"#Include /etc/ssh/sshd_config.d/*.conf\n":                           false,
		"Include /etc/ssh/sshd_config.d/99.conf\n":                           false,
		"Port 22\nMatch User x\n  Include /etc/ssh/sshd_config.d/*.conf\n":   false,
		"Include /etc/ssh/sshd_config.d/*.conf.d\n":                          false,
		"Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\nMatch User x\n\n\n": true,
	} {
		if got := readsDropIns(config); got != want {
			t.Errorf("%q: %v", config, got)
		}
	}
}

// Root may do no more than before.
func TestRootIsNotLetIn(t *testing.T) {
	for before, want := range map[string]bool{"yes": true, "without-password": true, "prohibit-password": true, "": true, "no": false, "forced-commands-only": false} {
		if got := strings.Contains(sshdText(before), "PermitRootLogin prohibit-password"); got != want {
			t.Errorf("PermitRootLogin %s: it is set %v", before, got)
		}
	}
}

func TestVisit(t *testing.T) {
	for said, want := range map[string]Visit{
		"192.0.2.1 5555 192.0.2.2 2222":     {User: "u", From: netip.MustParseAddrPort("192.0.2.1:5555"), ServerPort: 2222},
		"2001:db8::1 5555 2001:db8::2 22":   {User: "u", From: netip.MustParseAddrPort("[2001:db8::1]:5555"), ServerPort: 22},
		"fe80::1%eth0 5555 fe80::2%eth0 22": {User: "u", From: netip.MustParseAddrPort("[fe80::1%eth0]:5555"), ServerPort: 22},
		"":                                  {}, "a b c d": {}, "192.0.2.1 5555 192.0.2.2 0": {}, "192.0.2.1 5555 192.0.2.2 70000": {},
	} {
		got, ok := parseVisit(map[string]string{"SSH_CONNECTION": said, "USER": "u"})
		if got != want || ok != (want != Visit{}) {
			t.Errorf("%q: %+v, %v", said, got, ok)
		}
	}
}

func TestHowAccepted(t *testing.T) {
	const log = `Accepted password for eve from 192.0.2.1 port 55 ssh2
Accepted password for u from 192.0.2.1 port 5555 ssh2
Failed password for u from 192.0.2.1 port 5556 ssh2
Accepted publickey for u from 192.0.2.1 port 5556 ssh2: ED25519 SHA256:abc
Accepted keyboard-interactive/pam for u from 2001:db8::1 port 7 ssh2
Accepted publickey for u from 192.0.2.1 port 5555 ssh2: ED25519 SHA256:abc
`
	for from, want := range map[string]string{
		"192.0.2.1:5555": "publickey", "192.0.2.1:55": "password", "192.0.2.1:5556": "publickey", "[2001:db8::1]:7": "keyboard-interactive/pam",
		"192.0.2.1:5": "", "192.0.2.2:5555": "",
	} {
		if got := howAccepted(log, Visit{From: netip.MustParseAddrPort(from)}); got != want {
			t.Errorf("%s: %q, want %q", from, got, want)
		}
	}
}

func TestLoose(t *testing.T) {
	for said, want := range map[string]string{
		"passwordauthentication no\npermitrootlogin no\nclientaliveinterval 5\n":                           "",
		"passwordauthentication yes\npermitrootlogin without-password\nkbdinteractiveauthentication yes\n": "PasswordAuthentication yes, KbdInteractiveAuthentication yes",
		"permitrootlogin yes\nx11forwarding yes\n":                                                         "PermitRootLogin yes, X11Forwarding yes",
	} {
		if got := strings.Join(parseSSHD(said).loose(), ", "); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
