// Command lab starts bare servers on this computer, for people who try the way over SSH: Debian with systemd and sshd,
// in namespaces. It needs root on Linux, stays in the foreground and takes everything with it when it ends.
//
//	sudo make lab
//	sudo go run ./lab -hosts 6 -login sudo
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/lab"
)

var logins = map[string]lab.Login{
	"root": lab.Root, "sudo": lab.Sudo, "sudo-password": lab.SudoPassword, "no-sudo": lab.NoSudo,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "lab: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	hosts := flags.Int("hosts", 4, "how many servers")
	suite := flags.String("suite", lab.Bookworm, "Debian's release: bookworm or trixie")
	login := flags.String("login", "root", "who may log in: root, sudo, sudo-password or no-sudo")
	if err := flags.Parse(args); err != nil {
		return err
	}
	how, ok := logins[*login]
	if !ok {
		return fmt.Errorf("-login %q: want root, sudo, sudo-password or no-sudo", *login)
	}
	fmt.Fprintln(out, "starting; the first time makes an image, which takes a minute or two")
	begin := time.Now()
	l, err := lab.Start(ctx, lab.Options{Hosts: *hosts, Suite: *suite, Login: how})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	fmt.Fprintf(out, "%d servers after %.1f s\n\n", *hosts, time.Since(begin).Seconds())
	if err := describe(l, how, out); err != nil {
		return err
	}
	<-ctx.Done()
	fmt.Fprintln(out, "\nending")
	return nil
}

// describe prints all that a person needs to use a lab.
func describe(l *lab.Lab, how lab.Login, out io.Writer) error {
	for _, h := range l.Hosts() {
		fmt.Fprintf(out, "%-4s %-12s ssh -F %s %s\n", h.Name, h.Address, l.SSHConfig, h.Name)
	}
	if how == lab.SudoPassword {
		fmt.Fprintf(out, "sudo's password is %s\n", lab.Password)
	}
	config, err := os.ReadFile(l.SSHConfig)
	if err != nil {
		return err
	}
	path := filepath.Join(l.Folder, "pressenter.yaml")
	if err := os.WriteFile(path, []byte(deployment(l.Hosts())), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nfor ~/.ssh/config:\n\n%s\nin %s:\n\n%s\nPress Ctrl-C to end them all.\n", config, path, deployment(l.Hosts()))
	return nil
}

// deployment is a configuration for the servers: the first is the validator.
func deployment(hosts []*lab.Host) string {
	var b strings.Builder
	b.WriteString("apiVersion: pressenter/v1\nkind: Deployment\nname: lab\nchain: practice\nprovider: ssh\n")
	for i, h := range hosts {
		switch address := h.User + "@" + h.Address; i {
		case 0:
			fmt.Fprintf(&b, "validator: {address: %s}\n", address)
		case 1:
			b.WriteString("sentries:\n")
			fallthrough
		default:
			fmt.Fprintf(&b, "  - {name: s%d, address: %s}\n", i, address)
		}
	}
	return b.String()
}
