package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
)

// open locks a deployment that exists.
func (g *global) open() (*apply.Session, error) { return g.begin((*apply.Session).Open) }

// look opens a deployment without its lock, for what must not wait for an apply: a person who says stop.
func (g *global) look() (*apply.Session, error) { return g.begin((*apply.Session).Read) }

func (g *global) begin(how func(*apply.Session) error) (*apply.Session, error) {
	s, err := g.session()
	if err != nil {
		return nil, err
	}
	if err := how(s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// hosts opens a deployment and finds hosts by name; without names it is every host.
func (g *global) hosts(how func(*apply.Session) error, names []string) (*apply.Session, []apply.Target, error) {
	s, err := g.begin(how)
	if err != nil {
		return nil, nil, err
	}
	targets, err := s.Hosts(names)
	if err != nil {
		s.Close()
		return nil, nil, usageError{err}
	}
	return s, targets, nil
}

// reporter prints what became of each host.
func reporter(c *cobra.Command, verb string) func(apply.Target, error) {
	st := styleFor(c.OutOrStdout())
	return func(t apply.Target, err error) {
		if err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "%s %s: %v\n", st.bad("✘"), t.Host.Name, err)
			return
		}
		fmt.Fprintf(c.OutOrStdout(), "%s %s %s\n", st.good("✔"), t.Host.Name, verb)
	}
}

func newStopCmd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "stop [NAME...]", Short: "Stop nodes; what you stop stays stopped", ValidArgsFunction: g.completeHosts,
		Long: "Stop the named nodes, or everything including the agents. Nothing starts them again but 'pressenter start'.",
		RunE: func(c *cobra.Command, args []string) error {
			s, targets, err := g.hosts((*apply.Session).Read, args)
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Stop(c.Context(), targets, len(args) == 0, reporter(c, "stopped"))
		},
	}
}

func newStartCmd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "start [NAME...]", Short: "Start what was stopped, also after a reboot", ValidArgsFunction: g.completeHosts,
		RunE: func(c *cobra.Command, args []string) error {
			s, targets, err := g.hosts((*apply.Session).Open, args)
			if err != nil {
				return err
			}
			defer s.Close()
			if s.DestroyBegun() {
				fmt.Fprintln(c.ErrOrStderr(), "a destroy of this deployment was begun and is not finished: what is left of it is started; 'pressenter destroy' goes on with it")
			}
			err = s.Start(c.Context(), targets, reporter(c, "started"))
			if down := (*apply.NotStarted)(nil); errors.As(err, &down) {
				return hint(err, "'pressenter status' says more; for a folder that was copied or moved see docs/runbooks/moved-or-copied-folder.md")
			}
			return err
		},
	}
}

func newHoldCmd(g *global) *cobra.Command {
	var release bool
	c := &cobra.Command{
		Use: "hold NAME...", Short: "Suspend all repair of hosts while you work on them by hand", ValidArgsFunction: g.completeHosts,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, targets, err := g.hosts((*apply.Session).Read, args)
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.Hold(c.Context(), targets, !release); err != nil {
				return err
			}
			word := "held: nothing is started, stopped or rewritten there; 'pressenter hold --release' ends it"
			if release {
				word = "released"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s %s\n", strings.Join(args, ", "), word)
			return nil
		},
	}
	c.Flags().BoolVar(&release, "release", false, "let repair go on")
	return c
}

func newDestroyCmd(g *global) *cobra.Command {
	var name string
	var keys bool
	var unreached []string
	c := &cobra.Command{
		Use: "destroy", Short: "Stop everything and remove every host; keys are kept", Args: cobra.NoArgs,
		Long: "Stop everything, the validator first, and remove every host of the deployment and of its practice network.\n" +
			"The deployment's name has to be typed (or given with --name). Consensus keys with their sign state, backups and\n" +
			"the operator's keyring are kept, unless --delete-keys is given.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.open()
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.LockToDestroy(c.Context()); err != nil {
				return err
			}
			if err := typedName(c, s, name, keys); err != nil {
				return err
			}
			pr := &progress{out: c.OutOrStdout(), style: styleFor(c.OutOrStdout()), begun: time.Now(), live: isTerminal(c.OutOrStdout())}
			s.Progress = pr.show
			s.Unreached = unreached
			kept, err := s.Destroy(c.Context(), keys, reporter(c, "destroyed"))
			if err != nil {
				return err
			}
			if kept != "" {
				fmt.Fprintf(c.OutOrStdout(), "keys are kept in %s\n", kept)
			}
			return nil
		},
	}
	lookedFlag(c, g)
	c.Flags().StringVar(&name, "name", "", "the deployment's name, instead of typing it")
	c.Flags().StringArrayVar(&unreached, "unreached", nil, "a bought host that is dead or deleted: its machine is given back unseen, and its sign state is not kept; or the machine, as the refusal names it, of a sentry that was replaced")
	c.Flags().BoolVar(&keys, "delete-keys", false, "destroy consensus keys, their backups and the keyring too")
	return c
}

// typedName makes sure that the person means this deployment.
func typedName(c *cobra.Command, s *apply.Session, name string, keys bool) error {
	want := s.Config.Name
	if name == "" {
		if !isTerminal(c.InOrStdin()) {
			return hint(usageError{errors.New("destroying needs the deployment's name typed")}, "pressenter destroy --name %s", want)
		}
		what := "its hosts (keys are kept)"
		if keys {
			what = "its hosts AND ITS KEYS, for ever"
		}
		fmt.Fprintf(c.OutOrStdout(), "This destroys %s: %s.\nType the deployment's name to go on: ", want, what)
		line, err := askLine(c)
		if err != nil {
			return err
		}
		name = strings.TrimSpace(line)
	}
	if name != want {
		return usageError{fmt.Errorf("%q is not the name of this deployment; nothing was changed", name)}
	}
	return nil
}

// completeHosts offers the names of hosts.
func (g *global) completeHosts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := g.session()
	if err != nil || s.Read() != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	targets, err := s.Hosts(nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, t := range targets {
		out = append(out, t.Host.Name)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
