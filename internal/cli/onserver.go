package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/remote"
	"github.com/pressenter/pressenter/internal/ssh"
)

// passedOn ends this program as the command on a server ended, which has said what is to say.
type passedOn struct{ status int }

func (p passedOn) Error() string { return fmt.Sprintf("the command ended with status %d", p.status) }

// server is one of the deployment's servers, and the way to it.
func (g *global) server(name string) (h deployment.Host, servers *remote.Provider, err error) {
	s, targets, err := g.hosts((*apply.Session).Read, []string{name})
	if err != nil {
		return h, nil, err
	}
	defer s.Close()
	if h = targets[0].Host; !h.OnMachine() {
		return h, nil, hint(usageError{fmt.Errorf("%q is on this computer, in %s", name, h.Folder)}, "commands run there without any help")
	}
	exe, err := os.Executable()
	if err != nil {
		return h, nil, err
	}
	_, servers = hostsOf(s.Config.Name, s.Dir, exe)
	return h, servers, nil
}

func newSSHCmd(g *global) *cobra.Command {
	var forget bool
	c := &cobra.Command{
		Use: "ssh NAME [-- COMMAND...]", Short: "Log in to a server, or run a command there", Args: cobra.MinimumNArgs(1), ValidArgsFunction: g.completeHosts,
		Long: "Log in to a server by the way, the key and the host key that the deployment uses. With a command it is 'pressenter exec'.\n" +
			"With --forget the host key that was pinned for it is forgotten, after its server was reinstalled.",
		RunE: func(c *cobra.Command, args []string) error {
			h, servers, err := g.server(args[0])
			if err != nil {
				return err
			}
			defer servers.Close()
			switch {
			case forget:
				return forgetThere(c, servers, h)
			case len(args) > 1:
				return runThere(c, servers, h, args[1:], false)
			}
			return shellThere(c, servers, h)
		},
	}
	c.Flags().BoolVar(&forget, "forget", false, "forget the pinned host key instead")
	return c
}

// forgetThere lets the next contact with a server be the first one.
func forgetThere(c *cobra.Command, servers *remote.Provider, h deployment.Host) error {
	forgotten, err := servers.Forget(h)
	for _, fingerprint := range forgotten {
		fmt.Fprintf(c.OutOrStdout(), "forgot %s of %s\n", fingerprint, h.Name)
	}
	if err == nil && len(forgotten) == 0 {
		fmt.Fprintf(c.OutOrStdout(), "no host key of %s is pinned\n", h.Name)
	}
	return err
}

func newExecCmd(g *global) *cobra.Command {
	var root bool
	c := &cobra.Command{
		Use: "exec NAME -- COMMAND...", Short: "Run a command on a server", Args: cobra.MinimumNArgs(2), ValidArgsFunction: g.completeHosts,
		Long: "Run a command on a server. Its arguments are passed on exactly, without a shell; its input and output are this\n" +
			"command's, and so is the status that it ends with.",
		RunE: func(c *cobra.Command, args []string) error {
			h, servers, err := g.server(args[0])
			if err != nil {
				return err
			}
			defer servers.Close()
			return runThere(c, servers, h, args[1:], root)
		},
	}
	c.Flags().BoolVar(&root, "root", false, "as root")
	return c
}

func runThere(c *cobra.Command, servers *remote.Provider, h deployment.Host, args []string, root bool) error {
	err := servers.Exec(c.Context(), h, ssh.Command{Args: args, Stdin: c.InOrStdin(), Stdout: c.OutOrStdout(), Stderr: c.ErrOrStderr(), Sudo: root})
	return ended(err)
}

// ended passes the status of a command on.
func ended(err error) error {
	var exit *ssh.ExitError
	if errors.As(err, &exit) && exit.Status != 0 {
		return passedOn{exit.Status}
	}
	return err
}

// shellThere connects this terminal with a shell on a server.
func shellThere(c *cobra.Command, servers *remote.Provider, h deployment.Host) error {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !isTerminal(in) {
		return hint(usageError{errors.New("a shell needs a terminal")}, "run a command: pressenter ssh %s -- COMMAND", h.Name)
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(in.Fd()), before) }()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	size := func() ssh.Size {
		columns, rows, err := term.GetSize(int(in.Fd()))
		if err != nil {
			return ssh.Size{Columns: 80, Rows: 24}
		}
		return ssh.Size{Columns: columns, Rows: rows}
	}
	changed, resized := make(chan os.Signal, 1), make(chan ssh.Size)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	go func() {
		for {
			select {
			case <-changed:
				select {
				case resized <- size():
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ended(servers.Shell(ctx, h, ssh.Terminal{
		Stdin: in, Stdout: c.OutOrStdout(), Stderr: c.ErrOrStderr(), Kind: os.Getenv("TERM"), Size: size(), Resized: resized,
	}))
}

func newHardenCmd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "harden [NAME...]", Short: "Set servers up again: SSH, packet filter, updates, clock, units", ValidArgsFunction: g.completeHosts,
		Long: "Make the named servers, or all, what 'pressenter apply' made them at first. What is as it should be stays untouched,\n" +
			"and no node restarts. Changes of SSH and of the packet filter are proven by a new connection, or taken back.",
		RunE: func(c *cobra.Command, args []string) error {
			s, targets, err := g.hosts((*apply.Session).Open, args)
			if err != nil {
				return err
			}
			defer s.Close()
			told := reporter(c, "is as it should be")
			var all []error
			for _, t := range targets {
				if t.Host.OnMachine() {
					err := s.Provider.StartAgent(c.Context(), t.Host)
					told(t, err)
					all = append(all, err)
				}
			}
			return errors.Join(all...)
		},
	}
}
