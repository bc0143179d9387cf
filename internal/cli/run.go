package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// newAgentCmd is run by the provider, never by hand.
func newAgentCmd() *cobra.Command {
	var host string
	c := &cobra.Command{
		Use: "agent", Short: "Keep one host as the roster wants it (run by the tool itself)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			folder, exe, err := runArgs(host)
			if err != nil {
				return err
			}
			a := agent.Agent{Folder: agent.Folder(folder), Exe: exe, Version: version(), Build: build(), Logger: daemonLog(c)}
			return quietIfHeld(a.Run(c.Context()))
		},
	}
	c.Flags().StringVar(&host, "host", "", "the host's folder")
	_ = c.MarkFlagRequired("host")
	return c
}

// newNodeCmd is run by the agent, never by hand.
func newNodeCmd() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Supervise a chain's daemon (run by the agent)", Hidden: true}
	var host string
	run := &cobra.Command{
		Use: "run", Short: "Supervise the daemon of one host", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			folder, _, err := runArgs(host)
			if err != nil {
				return err
			}
			s := supervisor.Supervisor{Dir: folder, Logger: daemonLog(c)}
			return quietIfHeld(s.Run(c.Context()))
		},
	}
	run.Flags().StringVar(&host, "host", "", "the host's folder")
	_ = run.MarkFlagRequired("host")
	c.AddCommand(run)
	return c
}

// newMeshRunCmd is run by the agent, never by hand.
func newMeshRunCmd() *cobra.Command {
	var host string
	c := &cobra.Command{
		Use: "run", Short: "Carry the mesh of one host (run by the agent)", Hidden: true, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			folder, _, err := runArgs(host)
			if err != nil {
				return err
			}
			if err := agent.Folder(folder).CheckPlace(); err != nil {
				return fmt.Errorf("carry mesh of %q: %w", folder, err)
			}
			p := meshrun.Process{Dir: folder, Version: version(), Logger: daemonLog(c)}
			return quietIfHeld(p.Run(c.Context()))
		},
	}
	c.Flags().StringVar(&host, "host", "", "the host's folder")
	_ = c.MarkFlagRequired("host")
	return c
}

func runArgs(host string) (folder, exe string, err error) {
	if folder, err = filepath.Abs(host); err != nil {
		return "", "", err
	}
	exe, err = os.Executable()
	return folder, exe, err
}

// quietIfHeld: a second agent or supervisor of one host ends without ado; the first one does the work.
func quietIfHeld(err error) error {
	var held *process.Held
	if errors.As(err, &held) {
		return nil
	}
	return err
}

func daemonLog(c *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
}
