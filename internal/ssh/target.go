package ssh

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// Target is a server as a person names it. What is empty comes from the SSH config or has its default.
type Target struct {
	// Name is what the deployment calls the host. Its key is pinned under this name too, so that a host that moved to
	// another address is still known, and an address that another host got is noticed. Optional.
	Name string
	User string
	// Host is an alias of the SSH config, a host name, or an address. An IPv6 address has no brackets here.
	Host string
	Port int
}

// ParseTarget reads "[user@]host[:port]". An IPv6 address is written in brackets.
func ParseTarget(s string) (Target, error) {
	t, err := parseTarget(s)
	if err != nil {
		return Target{}, fmt.Errorf("read SSH target %q: %w", s, err)
	}
	return t, nil
}

func parseTarget(s string) (Target, error) {
	var t Target
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		t.User, s = s[:i], s[i+1:]
		if err := checkUser(t.User); err != nil {
			return t, err
		}
	}
	host, port, err := splitPort(s)
	if err != nil {
		return t, err
	}
	if port != "" {
		if t.Port, err = parsePort(port); err != nil {
			return t, err
		}
	}
	t.Host = host
	return t, checkHost(host, strings.HasPrefix(s, "["))
}

// splitPort splits "host:port", "[address]:port" and the same without a port.
func splitPort(s string) (host, port string, err error) {
	rest, bracket := strings.CutPrefix(s, "[")
	if bracket {
		var closed bool
		if host, rest, closed = strings.Cut(rest, "]"); !closed {
			return "", "", errors.New("the bracket is not closed")
		}
	} else {
		if strings.Count(s, ":") > 1 {
			return "", "", fmt.Errorf("an IPv6 address goes in brackets: [%s]", s)
		}
		host, rest = s, ""
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, rest = s[:i], s[i:]
		}
	}
	if rest == "" {
		return host, "", nil
	}
	port, colon := strings.CutPrefix(rest, ":")
	if !colon || port == "" {
		return "", "", errors.New("after the host comes nothing, or a colon and a port")
	}
	return host, port, nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, fmt.Errorf("the port is %q, not a number from 1 to 65535", s)
	}
	return int(n), nil
}

func checkUser(user string) error {
	switch {
	case user == "":
		return errors.New("the user before the @ is empty")
	case strings.ContainsRune(user, ':'):
		return errors.New("a user has no colon; passwords are not used, only keys")
	case user[0] == '-':
		return errors.New("a user does not begin with -")
	case strings.ContainsFunc(user, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune("'\"`$\\;&<>|(){}", r)
	}):
		return errors.New("the user has characters that no user has")
	}
	return nil
}

func checkHost(host string, bracket bool) error {
	if bracket {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return fmt.Errorf("in the brackets is %q, not an IPv6 address", host)
		}
		return nil
	}
	if host == "" {
		return errors.New("the host is empty")
	}
	if host[0] == '-' || host[0] == '.' {
		return fmt.Errorf("a host does not begin with %c", host[0])
	}
	for _, r := range host {
		if r != '.' && r != '-' && r != '_' && !(r < 128 && unicode.IsLetter(r)) && !(r >= '0' && r <= '9') {
			return fmt.Errorf("a host has no %q; write [user@]host[:port]", r)
		}
	}
	if len(host) > 253 {
		return errors.New("the host is longer than 253 characters")
	}
	return nil
}

// String returns what ParseTarget reads.
func (t Target) String() string {
	s := t.Host
	if strings.Contains(s, ":") {
		s = "[" + s + "]"
	}
	if t.Port != 0 {
		s += ":" + strconv.Itoa(t.Port)
	}
	if t.User != "" {
		s = t.User + "@" + s
	}
	return s
}

// address joins a host and a port for people and for net.Dial.
func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
