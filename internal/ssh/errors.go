package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Step is a part of the way to a command that runs on a server.
type Step string

// The steps, in their order.
const (
	StepConfig       Step = "config"       // read the SSH config
	StepResolve      Step = "resolve"      // look up the name
	StepConnect      Step = "connect"      // TCP, or a bastion's channel
	StepVersion      Step = "version"      // the server's first line
	StepKeyExchange  Step = "key exchange" // agree on ciphers
	StepHostKey      Step = "host key"     // is it the right server
	StepAuthenticate Step = "authenticate" // log in
	StepSession      Step = "session"      // start a command, and keep the connection
)

// Error is a failure on the way to a server.
type Error struct {
	Step Step
	Host string // user@address:port, with the bastion's number if it is one
	Err  error

	hint  string
	again bool
}

var doing = map[Step]string{
	StepConfig: "find the way to", StepResolve: "look up", StepConnect: "connect to", StepVersion: "greet",
	StepKeyExchange: "agree on keys with", StepHostKey: "check", StepAuthenticate: "log in to", StepSession: "use",
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", doing[e.Step], e.Host, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Hint says what to try next, in a sentence or a few. It may be empty.
func (e *Error) Hint() string {
	var changed *ChangedKeyError
	if errors.As(e.Err, &changed) {
		return changed.Hint()
	}
	return e.hint
}

// Temporary says whether waiting may help.
func (e *Error) Temporary() bool { return e.again }

// AuthError says why a server let nobody in.
type AuthError struct {
	User     string
	Accepts  []string // methods that the server takes now
	Offered  []string // keys that were offered and refused, by fingerprint and where they are from
	Accepted string   // the key that the server took before it wanted more or changed its mind
	Second   bool     // the key was right and another factor is wanted as well
	Troubles []string // what was wrong with other keys
	Banner   string   // what the server said to everybody
	Err      error    // what ended it, if not the server's no
}

func (e *AuthError) Unwrap() error { return e.Err }

func (e *AuthError) Error() string {
	var b strings.Builder
	switch {
	case e.Second:
		fmt.Fprintf(&b, "the key %s is right, but the server wants %s as well", e.Accepted, strings.Join(e.Accepts, " or "))
	case e.Accepted != "" && e.Err == nil:
		fmt.Fprintf(&b, "the server took the key %s and then refused user %q", e.Accepted, e.User)
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	case len(e.Offered) == 0:
		fmt.Fprintf(&b, "there is no key to offer for user %q", e.User)
	default:
		fmt.Fprintf(&b, "the server refuses user %q: it accepts none of the keys that were offered", e.User)
	}
	for _, o := range e.Offered {
		fmt.Fprintf(&b, "\n  offered %s", o)
	}
	for _, t := range e.Troubles {
		fmt.Fprintf(&b, "\n  not offered: %s", t)
	}
	if len(e.Accepts) > 0 && !e.Second {
		fmt.Fprintf(&b, "\n  the server accepts: %s", strings.Join(e.Accepts, ", "))
	}
	if e.Banner != "" {
		fmt.Fprintf(&b, "\n  the server says: %s", e.Banner)
	}
	return b.String()
}

func (e *AuthError) hint() string {
	said := ""
	if e.Err != nil {
		said = strings.ToLower(e.Err.Error())
	}
	switch {
	case e.Second:
		return "one-time codes and passwords are not used here: let this key in without them, for example with " +
			"a Match User block in sshd_config"
	case strings.Contains(said, "ssh-add "):
		return "the agent asks for the passphrase once and keeps the key"
	case strings.Contains(said, "open the key file"):
		return "see whether the passphrase is the right one: ssh-keygen -y -f FILE"
	case strings.Contains(said, "private part"):
		return "load the key into the agent, or name the file that holds it"
	case strings.Contains(said, "too many authentication failures"):
		return "the server counts each key that is offered: name the right one with IdentityFile and set IdentitiesOnly yes " +
			"in ~/.ssh/config"
	case cut(e.Err):
		return "the address may be banned (fail2ban) or the login have taken too long; the server's log says which: journalctl -u ssh"
	case e.Err != nil:
		return "look at the server's log: journalctl -u ssh"
	case e.Accepted != "":
		return "the account may be locked or expired, or the machine still boots; look at the server's log: journalctl -u ssh"
	case len(e.Accepts) > 0 && !strings.Contains(strings.Join(e.Accepts, " "), "publickey"):
		return "the server takes no keys: set PubkeyAuthentication yes in sshd_config and add a key of yours to the user's " +
			"~/.ssh/authorized_keys, from its console or with ssh-copy-id"
	case len(e.Offered) == 0:
		return "load a key into the agent with ssh-add, or name a key file with IdentityFile in ~/.ssh/config"
	}
	return fmt.Sprintf("is %q the right user (images of clouds use root, debian, ubuntu or admin)? "+
		"If so, add one of these keys to its ~/.ssh/authorized_keys from the server's console", e.User)
}

// explain makes an [Error] of what a step ended with.
func explain(h hop, step Step, limit time.Duration, err error) *Error {
	e := &Error{Step: step, Host: h.String(), Err: err}
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
	case errors.As(err, &dns):
		e.explainName(dns)
	case step == StepConnect:
		e.explainConnect(h, limit)
	case step == StepVersion:
		e.explainVersion(limit)
	case step == StepKeyExchange:
		e.explainKeyExchange(limit)
	case step == StepHostKey:
		e.hint = "connect once by hand and compare the fingerprint with that on the server's console, or name the expected one"
	case step == StepAuthenticate:
		e.explainLogin(limit)
	}
	return e
}

func (e *Error) explainName(dns *net.DNSError) {
	e.Step, e.again = StepResolve, dns.IsTimeout || dns.IsTemporary
	e.Err = fmt.Errorf("no address for the name %q: %w", dns.Name, dns)
	e.hint = "is the name spelled right? An alias has to be in ~/.ssh/config; an address works always"
}

func (e *Error) explainConnect(h hop, limit time.Duration) {
	var refused *ssh.OpenChannelError
	cause := strings.ToLower(e.Err.Error())
	switch {
	case errors.As(e.Err, &refused) && refused.Reason == ssh.Prohibited:
		e.Err = fmt.Errorf("the bastion before it forwards no connections: %w", refused)
		e.hint = "set AllowTcpForwarding yes in the bastion's sshd_config, and look at PermitOpen"
	case errors.Is(e.Err, syscall.ECONNREFUSED) || strings.Contains(cause, "connection refused"):
		e.again = true
		e.Err = fmt.Errorf("nothing listens on port %d: %w", h.port, e.Err)
		e.hint = "does the machine still boot? Else see whether sshd runs, and on which port"
	case timedOut(e.Err) || strings.Contains(cause, "timed out"):
		e.again = true
		e.Err = fmt.Errorf("no answer within %s", limit)
		e.hint = fmt.Sprintf("a firewall may drop port %d for your address, which may have changed; or the machine is off or "+
			"has another address", h.port)
	case errors.Is(e.Err, syscall.EHOSTUNREACH) || errors.Is(e.Err, syscall.ENETUNREACH) || strings.Contains(cause, "no route"):
		e.again = true
		e.hint = "there is no way to this address from here; for an IPv6 address see whether this computer has IPv6 at all"
	default:
		e.again = errors.As(e.Err, &refused) && refused.Reason == ssh.ConnectionFailed
	}
}

func (e *Error) explainVersion(limit time.Duration) {
	var other *notSSHError
	switch {
	case errors.As(e.Err, &other):
		e.hint = "another service has this port: which port does sshd use?"
	case timedOut(e.Err):
		e.again = true
		e.Err = fmt.Errorf("it took the connection and said nothing within %s", limit)
		e.hint = "sshd may be overloaded or stopped, or a proxy or firewall in between takes the connection in its place"
	case cut(e.Err):
		e.again = true
		e.Err = fmt.Errorf("it closed the connection before it said anything: %w", e.Err)
		e.hint = "sshd drops clients when too many log in at once (MaxStartups), when it bans an address (fail2ban), and while " +
			"it starts"
	}
}

func (e *Error) explainKeyExchange(limit time.Duration) {
	var algorithms *ssh.AlgorithmNegotiationError
	switch {
	case errors.As(e.Err, &algorithms):
		e.Err = fmt.Errorf("no %s in common; the server offers only %s", algorithms.What, strings.Join(algorithms.RequestedAlgorithms, ", "))
		e.hint = "its sshd is too old, or its sshd_config too narrow: allow what OpenSSH 8.5 and later has by default"
	case timedOut(e.Err):
		e.Err = fmt.Errorf("it stopped answering in mid-handshake, for %s", limit)
		e.hint = "often packets of full size do not get through: lower the MTU of this side, 1280 to try; else sshd is overloaded"
	case cut(e.Err):
		e.again = true
		e.Err = fmt.Errorf("it closed the connection in mid-handshake: %w", e.Err)
		e.hint = "sshd may be starting again; its log says more: journalctl -u ssh"
	}
}

func (e *Error) explainLogin(limit time.Duration) {
	var auth *AuthError
	switch {
	case timedOut(e.Err):
		e.Err = fmt.Errorf("no verdict within %s", limit)
		e.hint = "does your agent or security key wait for you? Else the server waits for something: DNS (UseDNS), PAM, a disk"
	case errors.As(e.Err, &auth):
		e.hint = auth.hint()
	}
}

// timedOut says whether a limit ended it.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &t) && t.Timeout() || errors.Is(err, syscall.ETIMEDOUT)
}

// cut says whether the other side ended the connection.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// notSSHError is what another service said.
type notSSHError struct{ said string }

func (e *notSSHError) Error() string { return fmt.Sprintf("it does not speak SSH; it says %q", e.said) }
