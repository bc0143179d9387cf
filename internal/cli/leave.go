package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/local"
)

// newLeaveCmd is run on a host that has joined.
func newLeaveCmd() *cobra.Command {
	l := leaving{}
	c := &cobra.Command{
		Use: "leave", Short: "End what this host does for the deployment that it joined", Args: cobra.NoArgs,
		Long: "Stop node, mesh and agent of a host that was enrolled with 'pressenter join'. Its keys are kept: it is a member until the\n" +
			"operator removes it, and 'pressenter join' with the same --host brings it back without a code. With --delete-keys its\n" +
			"folder is deleted, and it can come back as a new host only.",
		RunE: func(c *cobra.Command, _ []string) error {
			l.c = c
			return l.run(c.Context())
		},
	}
	c.Flags().StringVar(&l.folder, "host", "pressenter-host", "folder that 'pressenter join' was given")
	c.Flags().BoolVar(&l.deleteKeys, "delete-keys", false, "delete the folder with all keys and the chain's data")
	c.Flags().BoolVarP(&l.yes, "yes", "y", false, "do not ask")
	return c
}

// leaving is one run of the command.
type leaving struct {
	c               *cobra.Command
	folder          string
	deleteKeys, yes bool
}

func (l *leaving) run(ctx context.Context) error {
	dir, err := filepath.Abs(l.folder)
	if err != nil {
		return err
	}
	e, err := joined(dir)
	if err != nil {
		return err
	}
	if err := l.agreed(e, dir); err != nil {
		return err
	}
	h := deployment.Host{Name: e.Name, Folder: dir}
	if err := (local.Provider{}).StopAgent(ctx, h); err != nil { // it would start again what is stopped
		return err
	}
	removed, err := leave(ctx, agent.Folder(dir))
	if err != nil {
		return err
	}
	out := l.c.OutOrStdout()
	fmt.Fprintf(out, "%s of %s has left: its node, mesh and agent are stopped\n", e.Name, e.Deployment)
	if l.deleteKeys {
		if err := (local.Provider{}).Destroy(ctx, h, ""); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s is deleted, with its keys\n", dir)
	} else {
		fmt.Fprintf(out, "its keys and the chain's data are kept in %s\n", dir)
	}
	if removed {
		fmt.Fprintln(out, "the operator has removed it already; nothing is left to do")
		return nil
	}
	fmt.Fprintf(out, "it is a member until the operator removes it; tell them: take %s out of pressenter.yaml, then pressenter apply\n", e.Name)
	if !l.deleteKeys {
		fmt.Fprintf(out, "until then it comes back with: pressenter join --host %s\n", dir)
	}
	return nil
}

// joined is what a host was enrolled as that enrolled itself.
func joined(dir string) (api.EnrollRequest, error) {
	e, enrolled, err := agent.Folder(dir).Enrollment()
	switch {
	case err != nil:
		return e, err
	case !enrolled:
		return e, hint(usageError{fmt.Errorf("no host has joined in %q", dir)}, "--host names the folder that 'pressenter join' was given")
	case !agent.EnrolledItself(e):
		return e, hint(usageError{fmt.Errorf("host %q in %q was not joined: 'pressenter apply' made it", e.Name, dir)},
			"take it out of pressenter.yaml and run 'pressenter apply'; 'pressenter stop %s' stops its node only", e.Name)
	}
	return e, nil
}

// agreed asks whether keys are to be deleted.
func (l *leaving) agreed(e api.EnrollRequest, dir string) error {
	if !l.deleteKeys || l.yes {
		return nil
	}
	if !isTerminal(l.c.InOrStdin()) {
		return hint(usageError{errors.New("that keys are deleted needs a person's yes, and there is no terminal")}, "--yes deletes them")
	}
	yes, err := confirm(l.c, fmt.Sprintf("Delete %s with all keys of %s?", dir, e.Name), false)
	if err == nil && !yes {
		err = usageError{errors.New("nothing was changed")}
	}
	return err
}

// leave stops what runs in a folder that no agent holds any more. removed says that the rosters there have removed it.
func leave(ctx context.Context, f agent.Folder) (removed bool, err error) {
	n, err := f.Newcomer()
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.Leave(ctx, who()); err != nil {
		return false, err
	}
	_, _, err = n.Membership()
	if errors.Is(err, agent.ErrRemoved) {
		return true, nil
	}
	return false, err
}
