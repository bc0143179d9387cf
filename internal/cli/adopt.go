package cli

import (
	"bytes"
	"cmp"
	"context"
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
	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/remote"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/takeover"
)

// adoptCmd is 'pressenter adopt'.
type adoptCmd struct {
	*global
	unit             string
	asJSON, yes      bool
	join, take, undo bool
	acceptFileKey    bool
	genesis          string
	servers          *remote.Provider
	session          *apply.Session
	host             deployment.Host
}

func newAdoptCmd(g *global) *cobra.Command {
	d := &adoptCmd{global: g}
	c := &cobra.Command{
		Use: "adopt NAME", Short: "Look at a server that runs a node already, and take it over", Args: cobra.ExactArgs(1),
		Long: "Look at a server of the config on which systemd runs a chain's daemon already: its unit, program, home, chain, node id,\n" +
			"ports, consensus key and role. Then show what would stay, what would be taken over in which order, and what is not\n" +
			"understood. Nothing is changed there, nothing is brought there, and of keys only public halves are read.\n\n" +
			"With a config that says chain.exists, a validator is taken over in three steps:\n" +
			"  --join       puts the deployment on its network: genesis and peers are read from it, nothing is changed there.\n" +
			"               'pressenter apply' then makes the sentries, which catch up; the validator goes on as it is\n" +
			"  --take-over  is the planned restart: its unit is ended for ever, and the node starts again as one of ours\n" +
			"  --undo       takes a takeover back that has not reached the key yet. After that there is no way back",
		RunE: func(c *cobra.Command, args []string) error { return d.run(c, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&d.unit, "unit", "", "the service that runs the daemon, e.g. cosmos.service (default: the one that there is)")
	f.BoolVar(&d.asJSON, "json", false, "print JSON")
	f.BoolVar(&d.join, "join", false, "put the deployment on the network of this node")
	f.BoolVar(&d.take, "take-over", false, "restart the node as one of ours, now")
	f.BoolVar(&d.undo, "undo", false, "take a takeover back")
	f.BoolVar(&d.acceptFileKey, "accept-file-key", false, "the consensus key stays a file: whoever has a copy of it can sign, and gets the validator convicted")
	f.StringVar(&d.genesis, "genesis-sha256", "", "with --join: the SHA-256 of the genesis, hex, as the network publishes it")
	f.BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	daemonFlag(c, g)
	c.MarkFlagsMutuallyExclusive("join", "take-over", "undo", "json")
	return c
}

func (d *adoptCmd) run(c *cobra.Command, name string) error {
	conf, err := d.load()
	if err != nil {
		return err
	}
	m, err := broughtHost(*conf, name)
	if err != nil {
		return err
	}
	if d.session, err = d.sessionFor(*conf); err != nil {
		return err
	}
	defer d.session.Close()
	dir, err := d.dir()
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	_, d.servers = hostsOf(conf.Name, dir, exe)
	defer d.servers.Close()
	d.host = deployment.Host{Name: name, Provider: deployment.ProviderSSH, Address: m.Address, Role: roster.RoleSentry}
	if name == config.ValidatorHost {
		d.host.Role = roster.RoleValidator
	}
	switch {
	case d.join:
		return d.joins(c)
	case d.take:
		return d.takes(c)
	case d.undo:
		return d.undoes(c)
	}
	if there, err := d.inBetween(c); err != nil || there {
		return err
	}
	p, err := d.look(c.Context())
	if err != nil {
		return err
	}
	if d.asJSON {
		return printJSON(c.OutOrStdout(), p)
	}
	writeAdoption(c.OutOrStdout(), p)
	return nil
}

// look looks at the server. The deployment need not exist.
func (d *adoptCmd) look(ctx context.Context) (adopt.Plan, error) {
	found, err := d.servers.Look(ctx, d.host, d.unit)
	if err != nil {
		return adopt.Plan{}, fmt.Errorf("look at %s: %w", d.host.Name, err)
	}
	conf := d.session.Config
	w := adopt.Wanted{
		Host: d.host.Name, Address: d.host.Address, Validator: d.host.Name == config.ValidatorHost, ChainID: conf.Chain.ChainID, Exists: conf.Chain.Exists,
		Volume: d.host.Name == config.ValidatorHost && conf.Validator.VolumeDevice != "",
	}
	if w.Exists {
		if w.Program, err = atomicfile.SHA256(d.session.Daemon); err != nil {
			return adopt.Plan{}, hint(fmt.Errorf("read the chain's program: %w", err), "set chain.binary to a copy of the program that runs there")
		}
	}
	return adopt.Make(found, w), nil
}

// fit is look where nothing critical may be found.
func (d *adoptCmd) fit(c *cobra.Command) (*adopt.Found, error) {
	if !d.session.Config.Chain.Exists {
		return nil, errMakesItsOwn
	}
	p, err := d.look(c.Context())
	if err != nil {
		return nil, err
	}
	if !p.Implemented {
		writeAdoption(c.OutOrStdout(), p)
		return nil, errors.New("it cannot be taken over as it is; see what is critical above")
	}
	return p.Found, nil
}

// joins puts the deployment on the network of the node.
func (d *adoptCmd) joins(c *cobra.Command) error {
	if !d.session.Config.Chain.Exists {
		return errMakesItsOwn
	}
	if err := d.session.Open(); err != nil {
		return err
	}
	a, chainID, genesis, err := d.network(c)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	fmt.Fprintf(w, "chain    %s\ngenesis  SHA-256 %s\n", chainID, a.Genesis)
	for _, p := range a.Peers {
		fmt.Fprintf(w, "peer     %s\n", p)
	}
	if err := d.isIt(c, a.Genesis); err != nil {
		return err
	}
	if err := d.session.Join(a, chainID, genesis); err != nil {
		return err
	}
	if a.Begun {
		fmt.Fprintf(w, "\nA takeover of %s was begun: this folder knows of it again.\nnext: pressenter adopt %s --take-over, which goes on\n", a.Unit, d.host.Name)
		return nil
	}
	fmt.Fprintf(w, "\nNothing was changed on the server: %s goes on.\n"+
		"next: pressenter apply, which makes the sentries; once they have caught up, pressenter adopt %s --take-over\n", a.Unit, d.host.Name)
	return nil
}

var errMakesItsOwn = hint(usageError{errors.New("the config makes a network of its own")}, "describe the network in the config's chain block, with exists: true")

// network reads the network from the server: from the node that runs there, or from the journal of its takeover, where an
// operator lost what was noted.
func (d *adoptCmd) network(c *cobra.Command) (a deployment.Adoption, chainID string, genesis []byte, err error) {
	a = deployment.Adoption{Host: d.host.Name, Address: d.host.Address}
	st, err := d.session.TakeoverAt(c.Context(), d.host)
	if err != nil {
		return a, "", nil, err
	}
	if o := st.Order; st.Phase != takeover.None {
		a.Unit, a.Home, a.NodeID, a.PubKey, a.Genesis, a.Peers, a.MinGasPrice = o.Unit, o.Home, o.NodeID, o.PubKey, o.Genesis, o.Peers, o.MinGasPrice
		a.Mark, a.Begun, a.Taken = o.Mark, true, st.Phase == takeover.Done
		genesis, err = d.servers.TakenGenesis(c.Context(), d.host, o)
		return a, o.ChainID, genesis, err
	}
	found, err := d.fit(c)
	if err != nil {
		return a, "", nil, err
	}
	a.Unit, a.Home, a.NodeID, a.PubKey = found.Unit.Name, found.Home.Real, found.Node.NodeID, found.Key.PublicKey
	a.Peers, a.MinGasPrice, a.BlockTime = found.Node.Dials, found.Node.MinGasPrice, found.Node.BlockTime
	genesis, a.Genesis, err = d.servers.Genesis(c.Context(), d.host, found)
	return a, found.Node.ChainID, genesis, err
}

// isIt has somebody say that the genesis is the network's: the server alone says so.
func (d *adoptCmd) isIt(c *cobra.Command, sum string) error {
	switch known := d.session.Adoption(); {
	case d.genesis != "" && !strings.EqualFold(d.genesis, sum):
		return hint(usageError{fmt.Errorf("the genesis there has the SHA-256 %s, and not %s: nothing was noted", sum, d.genesis)}, "one of the two is of another network")
	case d.genesis != "" || known != nil && known.Genesis == sum:
		return nil
	case !d.yes && !isTerminal(c.InOrStdin()):
		return hint(usageError{errors.New("nobody said that this is the network's genesis: nothing was noted")},
			"compare the SHA-256 with what the network publishes, and give that: --genesis-sha256")
	}
	return sure(c, d.yes, "Is that the SHA-256 that the network publishes?")
}

// takes takes the node over, at this moment.
func (d *adoptCmd) takes(c *cobra.Command) error {
	if !d.acceptFileKey {
		return hint(usageError{errors.New("the consensus key would stay a file on the server: whoever has a copy of it can sign with it, and nobody can see that there is none")},
			"--accept-file-key takes that risk; cosigners, of which none has the whole key, are not in this version")
	}
	s := d.session
	if err := s.Open(); err != nil {
		return err
	}
	a := s.Adoption()
	if a == nil || a.Host != d.host.Name || a.Address != d.host.Address {
		return hint(usageError{fmt.Errorf("the deployment is not on the network of %s yet", d.host.Name)}, "run 'pressenter adopt %s --join'", d.host.Name)
	}
	if err := s.LockHosts(c.Context()); err != nil {
		return err
	}
	pr := newProgress(c.OutOrStdout())
	s.Progress = pr.show
	last := ""
	err := s.TakeOver(c.Context(), apply.Takes{
		Look: func(context.Context) (*adopt.Found, error) { return d.sameNode(c, a) },
		Sure: func(f *adopt.Found) error {
			pr.clear()
			return sure(c, d.yes, fmt.Sprintf("End %s for ever and restart its node as one of ours? It signs nothing for some minutes: at least %d blocks.", f.Unit.Name, signing.SilentBlocks+20))
		},
		Report: func(words string) {
			if words != last {
				last = words
				pr.show(apply.Event{Word: words, Why: true})
			}
		},
	})
	pr.clear()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "%s is a host of ours, and signs\n", d.host.Name)
	return nil
}

// sameNode looks at the node that is to be taken over, which is the one whose network was joined.
func (d *adoptCmd) sameNode(c *cobra.Command, a *deployment.Adoption) (*adopt.Found, error) {
	found, err := d.fit(c)
	if err == nil && (!bytes.Equal(found.Key.PublicKey, a.PubKey) || found.Node.NodeID != a.NodeID) {
		err = fmt.Errorf("another node runs there than the one whose network was joined: its key has the address %s", found.Key.Address)
	}
	return found, err
}

// undoes takes a takeover back.
func (d *adoptCmd) undoes(c *cobra.Command) error {
	if err := d.session.Open(); err != nil {
		return err
	}
	unit, err := d.session.UndoTakeover(c.Context(), d.host)
	if err != nil {
		return err
	}
	if unit == "" {
		fmt.Fprintf(c.OutOrStdout(), "the server of %s knows of no takeover: nothing was changed\n", d.host.Name)
		return nil
	}
	fmt.Fprintf(c.OutOrStdout(), "%s has its node back, as it was\n", unit)
	return nil
}

// inBetween says how far a takeover is that is there, and whether there is one.
func (d *adoptCmd) inBetween(c *cobra.Command) (bool, error) {
	st, err := d.servers.TakenOver(c.Context(), d.host)
	if err != nil || st.Phase == takeover.None {
		return false, err
	}
	w := c.OutOrStdout()
	if d.asJSON {
		return true, printJSON(w, map[string]any{"host": d.host.Name, "address": d.host.Address, "takeover": st})
	}
	o := st.Order
	fmt.Fprintf(w, "A takeover of %s for %s of the deployment %s is at phase %q there. It goes on by itself.\n", o.Unit, o.Host, o.Deployment, st.Phase)
	if st.Trouble != "" {
		fmt.Fprintf(w, "  what keeps it: %s\n", st.Trouble)
	}
	for _, note := range st.Notes {
		fmt.Fprintf(w, "  found: %s\n", note)
	}
	fmt.Fprintf(w, "next: pressenter adopt %s --take-over goes on%s; --join first, in a folder that does not know of it\n", d.host.Name, undoable(st.Phase))
	return true, nil
}

// undoable says in words whether a takeover of that phase can be undone.
func undoable(p takeover.Phase) string {
	if p == takeover.Silencing || p == takeover.Undoing {
		return ", --undo goes back"
	}
	return ""
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
		if s.NoReturn {
			fmt.Fprintf(w, "  -- until here --undo takes all of it back; from here on there is no way back --\n")
		}
		fmt.Fprintf(w, "  %d. %s\n     [after a reboot: %s]\n", i+1, s.What, s.Reboot)
	}
	fmt.Fprintf(w, "\nIn the way, not understood, or worth knowing:\n")
	printFindings(w, p.Findings, styleFor(w))
	next := "It cannot be taken over as it is: see what is critical."
	if p.Implemented {
		next = "next: --join, then 'pressenter apply', then --take-over"
	}
	fmt.Fprintf(w, "\n%d changes. %s\n", p.Changes, next)
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
