// Package cli is the command line: flags and answers in, text and JSON out. It is the only package that prints, reads
// the environment, handles signals or ends the process.
//
// What was asked for goes to standard output, everything else to standard error. Colour is only decoration: without a
// terminal, or with NO_COLOR, the words are the same.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/plan"
)

// Exit codes. A command that a signal ended before it was done exits with 128 and the signal's number: 130 for Ctrl-C.
const (
	ExitOK     = 0
	ExitFailed = 1 // something went wrong
	ExitUsage  = 2 // the command line or the config is wrong, or a person must decide
)

// Main runs the program.
func Main() { os.Exit(Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// Run runs one command and returns its exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(context.Background(), stderr)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	code := explain(stderr, err)
	if by, yes := interrupted(ctx); yes {
		return by
	}
	return code
}

// hinted is an error with what to do about it.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

func hint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// usageError marks what the caller, and not the world, got wrong.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// errCritical ends a command that printed critical findings.
var errCritical = errors.New("something is critical")

// explain prints an error with its next step, and returns the exit code.
func explain(w io.Writer, err error) int {
	code := ExitFailed
	var problems config.Problems
	if errors.As(err, &problems) {
		fmt.Fprintln(w, problems)
		fmt.Fprintf(w, "pressenter: error: %d problem(s) in the config; nothing was changed\n", len(problems))
		return ExitUsage
	}
	if errors.Is(err, errCritical) {
		return ExitFailed // the findings have been printed
	}
	if passed := (passedOn{}); errors.As(err, &passed) {
		return passed.status
	}
	fmt.Fprintf(w, "pressenter: error: %s\n", health.Lines(err.Error()))
	if next := nextStep(err); next != "" {
		fmt.Fprintf(w, "pressenter: hint: %s\n", health.Lines(next))
	}
	if u := (usageError{}); errors.As(err, &u) {
		code = ExitUsage
	}
	return code
}

// nextStep finds what to do about an error.
func nextStep(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	var cut *apply.Interrupted // whatever the step that was cut off says
	if errors.As(err, &cut) {
		return "run 'pressenter apply' to go on where it stopped; 'pressenter plan' shows what is left"
	}
	var refusal *plan.Refusal
	if errors.As(err, &refusal) {
		return refusal.Next
	}
	var daemon *apply.NoDaemon
	if errors.As(err, &daemon) {
		return daemon.Next
	}
	var answer *api.Error
	if errors.As(err, &answer) && answer.Hint != "" {
		return answer.Hint
	}
	var uninvited *apply.NotInvited
	if errors.As(err, &uninvited) {
		return uninvited.Next
	}
	if next := nextMeeting(err); next != "" {
		return next
	}
	var says interface{ Hint() string }
	if errors.As(err, &says) && says.Hint() != "" {
		return says.Hint()
	}
	var locked *apply.Locked
	if errors.As(err, &locked) {
		return "wait until it has finished; a lock ends with the process that holds it"
	}
	var step *apply.StepError
	switch {
	case errors.Is(err, context.Canceled) || errors.As(err, &signaled{}):
		return "interrupted; run the same command again"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full: free some space, then run 'pressenter apply' to go on where it stopped"
	case errors.Is(err, os.ErrPermission):
		return "this folder cannot be written by you: use another one, or mend its permissions"
	case errors.As(err, &step):
		return "mend the cause, then run 'pressenter apply' to go on where it stopped"
	}
	return ""
}

// newRoot is the whole command tree.
func newRoot() *cobra.Command {
	g := &global{}
	root := &cobra.Command{
		Use:           "pressenter",
		Short:         "Run a validator of a Cosmos SDK network, hidden behind sentries",
		Long:          "Press Enter to run a validator.\n\n'pressenter up' in an empty folder asks a few questions; every default is safe.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return hint(usageError{err}, "see '%s --help'", c.CommandPath())
	})
	root.PersistentFlags().StringVarP(&g.file, "config", "c", "pressenter.yaml", "the deployment's config")
	root.PersistentFlags().StringVar(&g.state, "state", "", "folder of the deployment's state (default .pressenter beside the config)")
	root.AddCommand(
		newUpCmd(g), newInitCmd(g), newPlanCmd(g), newApplyCmd(g), newStatusCmd(g), newLogsCmd(g), newConfigCmd(),
		newStopCmd(g), newStartCmd(g), newHoldCmd(g), newReplaceCmd(g), newRotateAddressCmd(g), newDestroyCmd(g), newKeyCmd(g), newDoctorCmd(g), newMeshCmd(g),
		newInviteCmd(g), newJoinCmd(), newLeaveCmd(), newPeersCmd(g),
		newSSHCmd(g), newExecCmd(g), newHardenCmd(g), newOpenSSHCmd(g), newAdoptCmd(g),

		newAgentCmd(), newNodeCmd(), newHostCmd(), newEjectCmd(g),
	)
	return root
}

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
