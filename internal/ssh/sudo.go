package ssh

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Privilege is how a user becomes root on a server.
type Privilege string

// The ways to root.
const (
	Root         Privilege = "root"     // the user is root
	Sudo         Privilege = "sudo"     // sudo asks nothing
	SudoPassword Privilege = "password" // sudo wants a password, or does not let the user
	NoSudo       Privilege = "none"     // there is no sudo
)

// SudoError says that the user cannot become root.
type SudoError struct {
	Host, User string
	Privilege  Privilege
}

func (e *SudoError) Error() string {
	if e.Privilege == NoSudo {
		return fmt.Sprintf("become root on %s: there is no sudo, and user %q is not root", e.Host, e.User)
	}
	return fmt.Sprintf("become root on %s: sudo does not let user %q without a password", e.Host, e.User)
}

// Hint says how to allow it.
func (e *SudoError) Hint() string {
	if e.Privilege == NoSudo {
		return "log in as root, or as root on the server's console: apt-get install sudo, then let the user use it without a password"
	}
	return fmt.Sprintf("as root on the server: echo '%s ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/pressenter && "+
		"chmod 0440 /etc/sudoers.d/pressenter && visudo -c", e.User)
}

const askPrivilege = `if [ "$(id -u)" = 0 ]; then echo root
elif ! command -v sudo >/dev/null 2>&1; then echo none
elif sudo -n true </dev/null >/dev/null 2>&1; then echo sudo
else echo password; fi`

// Privilege finds out how the user becomes root. It asks the server until the answer lets it, and then no more.
func (c *Client) Privilege(ctx context.Context) (Privilege, error) {
	c.sudoOnce.Lock()
	defer c.sudoOnce.Unlock()
	if c.sudo != nil {
		return *c.sudo, nil
	}
	var out bytes.Buffer
	if err := c.Run(ctx, Command{Args: []string{"/bin/sh", "-c", askPrivilege}, Stdout: &out}); err != nil {
		return "", fmt.Errorf("find out how to become root: %w", err)
	}
	p := Privilege(strings.TrimSpace(out.String()))
	switch p {
	case Root, Sudo:
		c.sudo = &p
	case SudoPassword, NoSudo:
	default:
		return "", fmt.Errorf("find out how to become root on %s: it answers %q; does its login shell print something of its own?",
			c.Host(), printable(out.String(), 60))
	}
	return p, nil
}

// wrap makes a line run as root.
func (p Privilege) wrap(c *Client, line string) (string, error) {
	switch p {
	case Root:
		return line, nil
	case Sudo:
		return "sudo -n -- " + line, nil
	}
	return "", &SudoError{Host: c.Host(), User: c.User(), Privilege: p}
}
