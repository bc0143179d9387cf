package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/doctor"
)

type doctorCmd struct {
	*global
	json, quick bool
}

func newDoctorCmd(g *global) *cobra.Command {
	d := &doctorCmd{global: g}
	c := &cobra.Command{
		Use: "doctor [NAME...]", Short: "Check everything, and prove that nobody can see the validator", ValidArgsFunction: g.completeHosts,
		Long: "Check this computer, the folder and every host, and prove that the validator is hidden: look at the peers and\n" +
			"address books of all nodes, ask them as strangers for the addresses they know, and knock as a stranger at the\n" +
			"validator's own address. The proof takes 50 seconds; shorter looks miss leaks that are there. Nothing is changed.\n\n" +
			"Before there is a deployment, only this computer and the folder are checked. With names, only what is found about\n" +
			"those hosts is shown, and the proof is made if the validator is one of them. The exit code is 1 if anything is critical.",
		RunE: d.run,
	}
	c.Flags().BoolVar(&d.json, "json", false, "print the checks for programs")
	c.Flags().BoolVar(&d.quick, "quick", false, "leave out what takes long, and say what is then not proven")
	daemonFlag(c, g)
	return c
}

// waitForBlock is how long a new block is waited for, to compare clocks by.
const waitForBlock = 5 * time.Second

func (d *doctorCmd) run(c *cobra.Command, names []string) error {
	target, checks, err := d.target()
	if err != nil {
		return err
	}
	facts := doctor.Look(c.Context(), target)
	if err := knownHosts(facts.Hosts, names); err != nil {
		return err
	}
	checks = aboutHosts(slices.Concat(checks, doctor.Judge(facts), d.clouds(c.Context())), names)
	if err := d.print(c, checks); err != nil {
		return err
	}
	proof := doctor.Proof{Hosts: facts.Hosts, Invited: facts.Invited, Mesh: facts.Meshes(), Provider: target.Provider, Quick: d.quick}
	validator, exists := proof.Validator()
	if exists && (len(names) == 0 || slices.Contains(names, validator.Name)) {
		var done func()
		proof.Progress, done = showProof(c.ErrOrStderr())
		proven, err := proof.Run(c.Context())
		done()
		if err != nil {
			return hint(fmt.Errorf("prove that the validator is hidden: %w", err), "interrupted; nothing was changed")
		}
		found := doctor.JudgeProof(proven)
		if err := d.print(c, found); err != nil {
			return err
		}
		checks = append(checks, found...)
	}
	return d.finish(c, doctor.NewReport(checks))
}

// print prints for people as soon as something is known.
func (d *doctorCmd) print(c *cobra.Command, checks []doctor.Check) error {
	if d.json {
		return nil
	}
	st := styleFor(c.OutOrStdout())
	return doctor.WriteText(c.OutOrStdout(), checks, func(v doctor.Verdict, word string) string {
		switch v {
		case doctor.OK:
			return st.good(word)
		case doctor.Warning:
			return st.warn(word)
		case doctor.Critical:
			return st.bad(word)
		case doctor.Info, doctor.NotChecked:
		}
		return st.dim(word)
	})
}

func (d *doctorCmd) finish(c *cobra.Command, r doctor.Report) error {
	if d.json {
		if err := printJSON(c.OutOrStdout(), r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.OutOrStdout(), "\n%s\n", r.Sum())
	}
	if n := r.Count(doctor.Critical); n > 0 {
		return hint(fmt.Errorf("%d critical finding(s)", n), "do what stands behind 'next', then run 'pressenter doctor' again")
	}
	return nil
}

// target is what the config says, or what is usual where there is none. What is wrong with it is a check.
func (d *doctorCmd) target() (doctor.Target, []doctor.Check, error) {
	dir, err := d.dir()
	if err != nil {
		return doctor.Target{}, nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return doctor.Target{}, nil, err
	}
	deployment, checks := d.config()
	hosts, servers := hostsOf(deployment.Name, dir, exe)
	here := deployment.Practice.Validators
	if !deployment.OnMachines() {
		here += deployment.Validator.Count + len(deployment.Sentries)
	}
	return doctor.Target{
		Dir: dir, Provider: hosts, PublicOf: servers.PublicOf, Version: version(), Daemon: d.findDaemon(deployment, exe), Expected: here,
		Practice: deployment.Chain.BuiltIn(), Wait: waitForBlock,
	}, checks, nil
}

func (d *doctorCmd) config() (config.Deployment, []doctor.Check) {
	check := doctor.Check{Code: "config", Subject: doctor.Folder, Verdict: doctor.OK, Measurement: d.file, Message: "the config can be read"}
	usual := config.Practice("practice-1")
	c, err := d.load()
	var problems config.Problems
	switch {
	case fileMissing(d.file):
		check.Verdict, check.Message, check.Next = doctor.Info, "there is no config yet, so this computer is checked for a practice network", "run 'pressenter up'"
		return usual, []doctor.Check{check}
	case errors.As(err, &problems):
		var checks []doctor.Check
		for _, p := range problems {
			checks = append(checks, doctor.Check{
				Code: "config", Subject: doctor.Folder, Verdict: doctor.Critical, Message: p.String(), Next: "mend the config",
			})
		}
		return usual, checks
	case err != nil:
		check.Verdict, check.Message, check.Next = doctor.Critical, err.Error(), "mend the config"
		return usual, []doctor.Check{check}
	}
	checks := []doctor.Check{check}
	for _, w := range c.Warnings() {
		checks = append(checks, doctor.Check{Code: "config", Subject: doctor.Folder, Verdict: doctor.Warning, Message: w, Next: "change " + d.file})
	}
	return *c, checks
}

// knownHosts refuses names of hosts that there are not.
func knownHosts(hosts []doctor.Host, names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(hosts, func(h doctor.Host) bool { return h.Name == name }) {
			return hint(usageError{fmt.Errorf("there is no host %q", name)}, "'pressenter status' lists them")
		}
	}
	return nil
}

// aboutHosts keeps the checks that are about one of the names; all, if there are none.
func aboutHosts(checks []doctor.Check, names []string) []doctor.Check {
	if len(names) == 0 {
		return checks
	}
	return slices.DeleteFunc(checks, func(c doctor.Check) bool { return !slices.Contains(names, c.Subject) })
}

// progressEvery is how often a line is written where lines cannot be written over.
const progressEvery = 15 * time.Second

// showProof shows how far a proof is: in one line on a terminal, else in a line now and then.
func showProof(w io.Writer) (show func(doctor.Progress), done func()) {
	var mu sync.Mutex
	var last time.Time
	terminal := isTerminal(w)
	show = func(p doctor.Progress) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintf("proving that the validator is hidden: %.0f s left, %d answers of %d nodes asked as strangers, %d looks at all peers, %d strangers at its door",
			p.Left.Seconds(), p.Asks, p.Nodes, p.Looks, p.Knocks)
		switch {
		case terminal:
			fmt.Fprintf(w, "\r\x1b[K%s", line)
		case time.Since(last) >= progressEvery:
			last = time.Now()
			fmt.Fprintln(w, line)
		}
	}
	return show, func() {
		if terminal {
			fmt.Fprint(w, "\r\x1b[K")
		}
	}
}
