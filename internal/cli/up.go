package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"charm.land/huh/v2"
	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/config"
)

func newUpCmd(g *global) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "up", Short: "Ask a few questions, then do everything until the validator signs", Args: cobra.NoArgs,
		Long: "Ask a few questions (Enter is always the safe answer), write pressenter.yaml, show the plan, carry it out and\n" +
			"wait for the validator's first signed block. All Enters make a practice network on this computer: a real chain,\n" +
			"a real validator behind two sentries, nothing of value anywhere. Without a terminal every answer is the default, but\n" +
			"what a config of yours would buy, give back or destroy elsewhere needs --yes.",
		RunE: func(c *cobra.Command, _ []string) error { return runUp(c, g, yes) },
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "take every default and do not ask")
	daemonFlag(c, g)
	return c
}

func runUp(c *cobra.Command, g *global, yes bool) error {
	out := c.OutOrStdout()
	ask := !yes && isTerminal(c.InOrStdin()) && isTerminal(out)
	d, err := g.load()
	switch {
	case err == nil:
		fmt.Fprintf(out, "using %s\n", g.file)
	case fileMissing(g.file):
		if d, err = answers(g, ask); err != nil {
			return err
		}
		if err := writeConfig(g.file, *d); err != nil {
			return err
		}
		fmt.Fprintf(out, "wrote %s\n", g.file)
		printEquivalent(c, g, *d)
	default:
		return err
	}
	s, err := g.sessionFor(*d)
	if err != nil {
		return err
	}
	if err := runApply(c, s, yes || !ask && allHere(*d), nil); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nnext: pressenter status --watch      the network, live\n      pressenter logs -f validator    what the validator's node says\n      pressenter doctor               proof that nobody can see the validator\n      pressenter stop                 stop everything; 'pressenter start' brings it back\n")
	return nil
}

func fileMissing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// printEquivalent shows how to get the same without questions.
func printEquivalent(c *cobra.Command, g *global, d config.Deployment) {
	where := ""
	if g.file != "pressenter.yaml" {
		where = " -c " + g.file
	}
	fmt.Fprintf(c.OutOrStdout(), "the same without questions: pressenter%s init --name %s --sentries %d && pressenter%s apply --yes\n\n", where, d.Name, len(d.Sentries), where)
}

// answers asks what cannot be known; without asking, every answer is its default.
func answers(g *global, ask bool) (*config.Deployment, error) {
	name, sentries, network := defaultName(g.file), "2", config.ChainPractice
	if ask {
		form := huh.NewForm(
			huh.NewGroup(
				huh.NewSelect[string]().Title("Which network?").
					Description("A practice network runs on this computer only. It costs nothing and touches no real key.").
					Options(huh.NewOption("practice, on this computer", config.ChainPractice)).Value(&network),
				huh.NewInput().Title("What shall the deployment be called?").Value(&name).Validate(checkName),
				huh.NewSelect[string]().Title("How many sentries in front of the validator?").
					Description("Sentries are the only nodes that ever see the validator. Two lets you lose one.").
					Options(huh.NewOptions("2", "3", "4")...).Value(&sentries),
			),
		).WithAccessible(plainTerminal())
		if err := form.Run(); err != nil {
			if errors.Is(err, huh.ErrUserAborted) {
				return nil, usageError{errors.New("stopped; nothing was written")}
			}
			return nil, err
		}
	}
	n, err := strconv.Atoi(sentries)
	if err != nil {
		return nil, err
	}
	return practice(name, n)
}

// plainTerminal: ask line by line where pictures would be in the way.
func plainTerminal() bool {
	return os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" || os.Getenv("ACCESSIBLE") != ""
}

// practice is a practice deployment with n sentries, checked as if it had been written by hand.
func practice(name string, n int) (*config.Deployment, error) {
	d := config.Practice(name)
	d.Sentries = nil
	for i := range n {
		d.Sentries = append(d.Sentries, config.Sentry{Name: "s" + strconv.Itoa(i+1)})
	}
	if _, err := config.Render(d); err != nil {
		return nil, err
	}
	return &d, nil
}

func checkName(name string) error {
	_, err := practice(name, 2)
	var problems config.Problems
	if errors.As(err, &problems) {
		return errors.New(problems[0].Message)
	}
	return err
}

var notName = regexp.MustCompile(`[^a-z0-9]+`)

// defaultName makes a deployment's name of its folder's.
func defaultName(file string) string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "practice-1"
	}
	name := strings.Trim(notName.ReplaceAllString(strings.ToLower(filepath.Base(filepath.Dir(abs))), "-"), "-")
	name = strings.TrimLeft(name, "-0123456789")
	if checkName(name) != nil || name == config.ChainPractice {
		return "practice-1"
	}
	return name
}

// writeConfig writes a new config; an existing one is never overwritten.
func writeConfig(file string, d config.Deployment) error {
	b, err := config.Render(d)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteNew(file, b, 0o644); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return hint(usageError{fmt.Errorf("config %q is there already; it was not changed", file)}, "edit it, then run 'pressenter plan'")
		}
		return fmt.Errorf("write config %q: %w", file, err)
	}
	return nil
}

func newInitCmd(g *global) *cobra.Command {
	var name string
	var sentries int
	c := &cobra.Command{
		Use: "init", Short: "Write pressenter.yaml", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if name == "" {
				name = defaultName(g.file)
			}
			d, err := practice(name, sentries)
			if err != nil {
				return err
			}
			if err := writeConfig(g.file, *d); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "wrote %s\nnext: pressenter plan, then pressenter apply\n", g.file)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "the deployment's name (default: the folder's)")
	c.Flags().IntVar(&sentries, "sentries", 2, "how many sentries")
	return c
}

func newConfigCmd() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "About the config file"}
	c.AddCommand(&cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of pressenter.yaml", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	})
	return c
}
