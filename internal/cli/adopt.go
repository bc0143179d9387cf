package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
)

func newAdoptCmd(g *global) *cobra.Command {
	var unit string
	var asJSON bool
	c := &cobra.Command{
		Use: "adopt NAME", Short: "Look at a server that runs a node already, and show what taking it over would mean", Args: cobra.ExactArgs(1),
		Long: "Look at a server of the config on which systemd runs a chain's daemon already: its unit, program, home, chain, node id,\n" +
			"ports, consensus key and role. Then show what would stay, what would be taken over in which order, and what is not\n" +
			"understood. Nothing is changed there, nothing is brought there, and of keys only public halves are read.\n\n" +
			"This version shows the plan and does not carry it out.",
		RunE: func(c *cobra.Command, args []string) error {
			p, err := g.adoption(c.Context(), args[0], unit)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(p)
			}
			writeAdoption(c.OutOrStdout(), p)
			return nil
		},
	}
	c.Flags().StringVar(&unit, "unit", "", "the service that runs the daemon, e.g. cosmos.service (default: the one that there is)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// adoption looks at a server of the config. The deployment need not exist.
func (g *global) adoption(ctx context.Context, name, unit string) (adopt.Plan, error) {
	c, err := g.load()
	if err != nil {
		return adopt.Plan{}, err
	}
	m, err := broughtHost(*c, name)
	if err != nil {
		return adopt.Plan{}, err
	}
	dir, err := g.dir()
	if err != nil {
		return adopt.Plan{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return adopt.Plan{}, err
	}
	_, servers := hostsOf(c.Name, dir, exe)
	defer servers.Close()
	found, err := servers.Look(ctx, deployment.Host{Name: name, Provider: deployment.ProviderSSH, Address: m.Address}, unit)
	if err != nil {
		return adopt.Plan{}, fmt.Errorf("look at %s: %w", name, err)
	}
	return adopt.Make(found, adopt.Wanted{Host: name, Address: m.Address, Validator: name == config.ValidatorHost, ChainID: c.Chain.ChainID}), nil
}

// broughtHost is a host of the config that is there already.
func broughtHost(c config.Deployment, name string) (config.Machine, error) {
	all := map[string]config.Machine{}
	if c.Validator.Count > 0 {
		all[config.ValidatorHost] = c.Validator.Machine
	}
	for _, s := range c.Sentries {
		all[s.Name] = s.Machine
	}
	m, known := all[name]
	switch {
	case !known:
		return m, hint(usageError{fmt.Errorf("the config has no host %q", name)}, "it has %s", strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	case c.ProviderOf(m) != config.ProviderSSH:
		return m, hint(usageError{fmt.Errorf("%q is no server that is there already", name)}, "a host with provider ssh has an address in the config")
	case m.Address == "":
		return m, usageError{errors.New("it has no address")}
	}
	return m, nil
}

// writeAdoption prints the plan for people.
func writeAdoption(w io.Writer, p adopt.Plan) {
	f := p.Found
	fmt.Fprintf(w, "%s is a %s, run by %s at %s\n\n", p.Host, f.Role, f.Unit.Name, p.Address)
	row := func(what, format string, args ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, args...)); text != "" {
			fmt.Fprintf(w, "  %-8s %s\n", what, text)
		}
	}
	row("unit", "%s, %s, user %s, %s", f.Unit.State, cmp.Or(f.Unit.Enabled, "not enabled"), f.Unit.User, cmp.Or(f.Unit.File, "without a file"))
	for _, d := range f.Unit.DropIns {
		row("", "%s", d)
	}
	row("program", "%s%s", f.Program.Path, programWords(f.Program))
	row("home", "%s", f.Home.Path)
	row("chain", "%s%s", f.Node.ChainID, blockWords(f.Node))
	row("node", "%s", f.Node.NodeID)
	row("ports", "%s", portWords(f.Node))
	row("key", "%s", keyWords(f.Key))
	fmt.Fprintf(w, "\nStays as it is, until a restart that you plan:\n")
	for _, s := range p.Stays {
		fmt.Fprintf(w, "  = %s\n", s)
	}
	fmt.Fprintf(w, "\nWould be taken over at that restart, each step done before the next begins:\n")
	for i, s := range p.Takeover {
		fmt.Fprintf(w, "  %d. %s\n     [after a reboot: %s]\n", i+1, s.What, s.Reboot)
	}
	fmt.Fprintf(w, "\nIn the way, not understood, or worth knowing:\n")
	printFindings(w, p.Findings, styleFor(w))
	fmt.Fprintf(w, "\n%d changes. This version shows what a takeover would be and does not carry it out.\n", p.Changes)
}

func programWords(p adopt.Program) string {
	s := ""
	if p.Cosmovisor {
		s += ", by cosmovisor"
	}
	if p.SHA256 != "" {
		s += ", SHA-256 " + p.SHA256[:16]
	}
	if p.Pid == 0 {
		return s + ", not running"
	}
	if !p.Since.IsZero() {
		s += ", since " + p.Since.Format(time.RFC3339)
	}
	return s
}

func blockWords(n adopt.Node) string {
	switch {
	case !n.Answers:
		return ""
	case n.CatchingUp:
		return fmt.Sprintf(", at height %d, catching up", n.Height)
	}
	return fmt.Sprintf(", at height %d", n.Height)
}

func portWords(n adopt.Node) string {
	all := []string{"p2p " + n.P2P, "rpc " + n.RPC}
	for _, name := range slices.Sorted(maps.Keys(n.Services)) {
		all = append(all, name+" "+n.Services[name])
	}
	return strings.Join(all, ", ")
}

func keyWords(k adopt.Key) string {
	if k.Address == "" {
		return cmp.Or(k.Type, "none was read")
	}
	s := k.Address
	if k.Remote != "" {
		s += ", at a signer elsewhere"
	}
	if k.Power > 0 {
		s += fmt.Sprintf(", voting power %d", k.Power)
	}
	if k.Signed > 0 {
		s += fmt.Sprintf(", its signature is in block %d", k.Signed)
	}
	if k.Mark.Known {
		s += fmt.Sprintf(", signed up to %d/%d/%d", k.Mark.Height, k.Mark.Round, k.Mark.Step)
	}
	return s
}
