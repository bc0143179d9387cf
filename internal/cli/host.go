package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/takeover"
)

// newHostCmd is what the operator's program calls on a machine, as root: JSON in, JSON out.
func newHostCmd() *cobra.Command {
	c := &cobra.Command{Use: "host", Short: "Keep this machine (run by the operator's program)", Hidden: true}
	folder := agent.Folder(machine.Folder)
	c.AddCommand(
		hostCmd("setup", "Make this machine what an agent needs", func(ctx context.Context, s machine.Spec) (machine.Report, error) {
			return setUp(ctx, folder, s)
		}),
		hostCmd("inspect", "Say what runs here, without the agent", func(context.Context, struct{}) (api.HostStatus, error) {
			return agent.Inspect(folder), nil
		}),
		hostCmd("confirm", "Keep what was changed on trial", func(ctx context.Context, _ struct{}) (struct{}, error) {
			return struct{}{}, machine.Confirm(ctx)
		}),
		hostCmd("stop-agent", "End the agent and the mesh process", func(ctx context.Context, o machine.Whose) (struct{}, error) {
			if err := owned(folder, o); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, errors.Join(machine.StopAgent(ctx), agent.StopMesh(ctx, folder))
		}),
		hostCmd("stop", "End everything and say what must not be lost", func(ctx context.Context, o machine.Whose) (machine.Left, error) {
			if err := mayEnd(folder, o); err != nil {
				return machine.Left{}, err
			}
			return stopAll(ctx, folder)
		}),
		hostCmd("remove", "Remove everything", func(ctx context.Context, o machine.Whose) (struct{}, error) {
			if err := mayEnd(folder, o); err != nil {
				return struct{}{}, err
			}
			if _, err := stopAll(ctx, folder); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, machine.Remove(ctx)
		}),
		hostCmd("takeover", "Take a daemon over from its unit", takeover.Here().Begin),
		hostCmd("takeover-look", "Say how far that is", func(context.Context, struct{}) (takeover.State, error) { return takeover.Here().Look() }),
		hostCmd("takeover-undo", "Give the daemon back to its unit", takeover.Here().Undo),
		&cobra.Command{
			Use: "takeover-run", Short: "Do what was begun (run by systemd)", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return takeover.Here().Run(c.Context()) },
		},
		&cobra.Command{
			Use: "rollback", Short: "Put the former agent back if the new one never answered", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				done, err := machine.Rollback(c.Context())
				if err == nil && done {
					fmt.Fprintln(c.OutOrStdout(), "the former agent runs again: the new one did not answer")
				}
				return err
			},
		},
		&cobra.Command{
			Use: "dial", Short: "Lead standard input and output to the agent", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				return api.Pipe(c.Context(), machine.Folder, c.InOrStdin(), c.OutOrStdout())
			},
		},
	)
	return c
}

// hostCmd is a command that reads one value and writes another.
func hostCmd[In, Out any](name, short string, do func(context.Context, In) (Out, error)) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		var in In
		if err := json.NewDecoder(io.LimitReader(c.InOrStdin(), 1<<20)).Decode(&in); err != nil {
			return fmt.Errorf("read what to do: %w", err)
		}
		out, err := do(c.Context(), in)
		if err != nil {
			return err
		}
		return json.NewEncoder(c.OutOrStdout()).Encode(out)
	}}
}

// owned refuses to stop or remove a machine that is not the one that is meant: an address can be mistyped, and a name
// can lead elsewhere by now.
func owned(folder agent.Folder, o machine.Whose) error {
	e, enrolled, err := folder.Enrollment()
	if err != nil {
		return err
	}
	if enrolled && (e.Deployment != o.Deployment || e.Name != o.Host) {
		return fmt.Errorf("this machine is %s %q of the deployment %q, not %q of %q: nothing was done to it", e.Role, e.Name, e.Deployment, o.Host, o.Deployment)
	}
	taken, err := takeover.In(string(folder))
	if err != nil {
		return err
	}
	return taken.IsOf(o.Deployment, o.Host)
}

// mayEnd is owned, and refuses while a takeover is between its beginning and its end: the key may be in a home that is here
// and not anywhere else.
func mayEnd(folder agent.Folder, o machine.Whose) error {
	if err := owned(folder, o); err != nil {
		return err
	}
	taken, err := takeover.In(string(folder))
	if err != nil {
		return err
	}
	if taken.Phase != takeover.None && taken.Phase != takeover.Done {
		return fmt.Errorf("%s is being taken over here, and that is %s: nothing was done to it; finish that with 'pressenter adopt %s --take-over', or '--undo'", taken.Order.Unit, taken.Phase, o.Host)
	}
	return nil
}

// setUp refuses a machine that is somebody else's before it changes anything.
func setUp(ctx context.Context, folder agent.Folder, s machine.Spec) (machine.Report, error) {
	if err := maySetUp(folder, s); err != nil {
		return machine.Report{}, err
	}
	visit, _ := machine.FindVisit()
	s.SSH = machine.SSHPorts(ctx, visit)
	return machine.Setup(ctx, s)
}

func maySetUp(folder agent.Folder, s machine.Spec) error {
	e, enrolled, err := folder.Enrollment()
	if err != nil {
		return err
	}
	if enrolled && (e.Deployment != s.Deployment || e.Name != s.Host || e.Role != s.Role) {
		return fmt.Errorf("this machine is %s %q of the deployment %q already: take it out of that one first", e.Role, e.Name, e.Deployment)
	}
	if err := mayEnd(folder, machine.Whose{Deployment: s.Deployment, Host: s.Host}); err != nil {
		return err
	}
	taken, err := takeover.In(string(folder))
	switch {
	case err != nil || taken.Phase == takeover.None:
		return err
	case s.Role != string(roster.RoleValidator):
		return fmt.Errorf("a validator was taken over here from %s: this machine cannot be a %s", taken.Order.Unit, s.Role)
	case s.Volume != "":
		return fmt.Errorf("a validator was taken over here from %s, with its home: that cannot be on a volume of its own; take volume_device out of the config", taken.Order.Unit)
	}
	return nil
}

// stopAll ends everything of the host, and reads what somebody may need once it is gone.
func stopAll(ctx context.Context, folder agent.Folder) (machine.Left, error) {
	if err := errors.Join(machine.StopAgent(ctx), agent.StopInspected(ctx, folder)); err != nil {
		return machine.Left{}, err
	}
	signState, backup, err := folder.Kept()
	return machine.Left{SignState: signState, Backup: backup}, err
}
