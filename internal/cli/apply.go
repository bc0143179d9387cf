package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/plan"
)

func newPlanCmd(g *global) *cobra.Command {
	var asJSON, detailed bool
	c := &cobra.Command{
		Use: "plan", Short: "Show what apply would do", Args: cobra.NoArgs,
		Long: "Show every step that apply would take: what is created, changed, restarted and destroyed. Nothing is changed.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.look()
			if err != nil {
				return err
			}
			defer s.Close()
			pr := newProgress(c.ErrOrStderr())
			s.Progress = pr.show
			p, err := s.Plan(c.Context())
			pr.clear()
			if err != nil {
				return err
			}
			if asJSON {
				if err := printPlanJSON(c.OutOrStdout(), p); err != nil {
					return err
				}
			} else {
				printPlan(c.OutOrStdout(), p)
			}
			if detailed && !p.Empty() {
				return errChanges
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	unaskedFlag(c, g)
	lookedFlag(c, g)
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 2 when there are changes")
	daemonFlag(c, g)
	return c
}

// errChanges ends a plan with --detailed-exitcode.
var errChanges = usageError{errors.New("there are changes")}

func daemonFlag(c *cobra.Command, g *global) {
	c.Flags().StringVar(&g.daemon, "daemon", "", "the chain's program (default: beside this one, else from PATH)")
}

func newApplyCmd(g *global) *cobra.Command {
	var yes, lost bool
	var unreached []string
	var given proof
	c := &cobra.Command{
		Use: "apply", Short: "Make the world as the config says", Args: cobra.NoArgs,
		Long: "Show the plan, ask, and do it. Interrupted anywhere, apply goes on where it stopped; again = \"no changes\".\n" +
			"Without a terminal a plan that buys, gives back or destroys needs --yes.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.session()
			if err != nil {
				return err
			}
			s.ReplaceLost, s.Confirmed, s.Unreached = lost, given.confirm, unreached
			return runApply(c, s, yes, &given)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	given.flags(c)
	unaskedFlag(c, g)
	lookedFlag(c, g)
	c.Flags().StringArrayVar(&unreached, "unreached", nil, "the machine of a brought sentry that leaves and refuses to be cleared: it is left as it is")
	c.Flags().BoolVar(&lost, "replace-lost", false, "the validator's host is lost for ever: make a new one, to which the key is restored")
	daemonFlag(c, g)
	return c
}

// runApply plans, asks and does. What a person gave as proof may be nil.
func runApply(c *cobra.Command, s *apply.Session, yes bool, given *proof) error {
	defer s.Close()
	out := c.OutOrStdout()
	pr := newProgress(out)
	s.Progress = pr.show
	p, err := planned(c, s)
	pr.clear()
	if err != nil {
		return err
	}
	printPlan(out, p)
	if p.Empty() {
		return nil
	}
	if given == nil {
		if err := given.lost(c, s, p); err != nil { // before anybody is asked
			return err
		}
	}
	if !yes {
		if err := consent(c, p); err != nil {
			return err
		}
	}
	if err := given.lost(c, s, p); err != nil {
		return err
	}
	return carryOut(c.Context(), out, s, p)
}

// carryOut does the plan and shows each step as it goes.
func carryOut(ctx context.Context, out io.Writer, s *apply.Session, p plan.Plan) error {
	begun := time.Now()
	pr := newProgress(out)
	s.Progress = pr.show
	if err := s.Do(ctx, p); err != nil {
		pr.clear()
		return err
	}
	pr.clear()
	fmt.Fprintf(out, "done in %s\n", time.Since(begun).Round(100*time.Millisecond))
	return nil
}

// progress prints one line a finished step and, on a terminal, what is going on now.
type progress struct {
	out   io.Writer
	style style
	begun time.Time
	live  bool
	last  string
}

func newProgress(out io.Writer) *progress {
	return &progress{out: out, style: styleFor(out), begun: time.Now(), live: isTerminal(out)}
}

func (p *progress) show(e apply.Event) {
	e.Word = health.Plain(e.Word)
	at := fmt.Sprintf("%6.1fs", time.Since(p.begun).Seconds())
	switch {
	case e.Step == nil:
		if e.Word == p.last {
			return
		}
		p.last = e.Word
		if e.Why {
			p.clear()
			fmt.Fprintf(p.out, "%s %s %s\n", p.style.dim(at), p.style.warn("…"), e.Word)
			return
		}
		if p.live && !strings.HasPrefix(e.Word, "block ") {
			fmt.Fprintf(p.out, "\r\033[K%s   %s", p.style.dim(at), p.style.dim(fit(e.Word, width(p.out)-len(at)-4)))
			return
		}
		if strings.HasPrefix(e.Word, "block ") {
			p.clear()
			fmt.Fprintf(p.out, "%s %s %s\n", p.style.dim(at), p.style.good("✔"), e.Word)
		}
	case e.Done && e.Err == nil:
		p.clear()
		fmt.Fprintf(p.out, "%s %s %s %s\n", p.style.dim(at), p.style.good("✔"), e.Step.Where()+": "+brief(e.Step), p.style.dim(e.Took.Round(time.Millisecond).String()))
	case e.Done:
		p.clear()
		fmt.Fprintf(p.out, "%s %s %s\n", p.style.dim(at), p.style.bad("✘"), e.Step.Where()+": "+brief(e.Step))
	}
}

func brief(s plan.Step) string {
	words := s.String()
	if i := strings.IndexByte(words, ':'); i > 0 && i < 60 {
		words = words[:i]
	}
	return words
}

// fit cuts words to n columns.
func fit(words string, n int) string {
	if r := []rune(words); n > 1 && len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return words
}

func (p *progress) clear() {
	if p.live {
		fmt.Fprint(p.out, "\r\033[K")
	}
}

// confirm asks a yes-or-no question; Enter takes the default.
func confirm(c *cobra.Command, question string, enter bool) (bool, error) {
	choices := "[y/N]"
	if enter {
		choices = "[Y/n]"
	}
	fmt.Fprintf(c.OutOrStdout(), "%s %s ", question, choices)
	line, err := askLine(c)
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "":
		return enter, nil
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// askLine reads what a person types, until the command is interrupted.
func askLine(c *cobra.Command) (string, error) {
	type answer struct {
		line string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := readLine(c.InOrStdin())
		typed <- answer{line, err}
	}()
	select {
	case a := <-typed:
		return a.line, a.err
	case <-c.Context().Done():
		fmt.Fprintln(c.OutOrStdout()) // the question stands alone in its line
		return "", context.Cause(c.Context())
	}
}

// readLine reads one line without taking more than it.
func readLine(r io.Reader) (string, error) {
	var b strings.Builder
	one := make([]byte, 1)
	for {
		n, err := r.Read(one)
		if n == 1 && one[0] == '\n' {
			return b.String(), nil
		}
		b.Write(one[:n])
		if b.Len() > 4096 {
			return "", bufio.ErrTooLong
		}
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
	}
}
