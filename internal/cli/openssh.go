package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/deployment"
)

// Bounds of how long SSH may be opened.
const (
	leastOpen = time.Minute
	mostOpen  = 24 * time.Hour
)

type openSSHCmd struct {
	*global
	limit time.Duration
	from  string
	shut  bool
	wide  bool
}

func newOpenSSHCmd(g *global) *cobra.Command {
	o := &openSSHCmd{global: g}
	c := &cobra.Command{
		Use: "open-ssh NAME | --shut", Short: "Get back into a server that takes no SSH", ValidArgsFunction: g.completeHosts,
		Args: func(c *cobra.Command, args []string) error {
			if o.shut {
				return cobra.NoArgs(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		Long: "Let yourself in to a server by SSH. Where the clouds' firewalls let in the networks of admin.cidrs alone, they let in\n" +
			"your address, too, at all bought machines, for as long as this command runs and --for says; then it takes that back. If\n" +
			"it is killed, 'pressenter status' shows what is left open, --shut takes it back, and so does the next apply after its time.\n\n" +
			"For a server that was there already, and for one that shuts itself, it says what to type at the console.",
		RunE: o.run,
	}
	c.Flags().DurationVar(&o.limit, "for", 30*time.Minute, "for how long, from 1m to 24h")
	c.Flags().BoolVar(&o.wide, "wide", false, "let in a network as large as --from says, up to the whole internet")
	c.Flags().BoolVar(&o.shut, "shut", false, "take back all that was let in for a time, whoever opened it")
	c.Flags().StringVar(&o.from, "from", "", "let in this address or network (default: the address that you come from)")
	return c
}

func (o *openSSHCmd) run(c *cobra.Command, args []string) error {
	if o.shut {
		return o.shutAll(c)
	}
	if o.limit < leastOpen || o.limit > mostOpen {
		return usageError{fmt.Errorf("--for %v: it has to be from %v to %v", o.limit, leastOpen, mostOpen)}
	}
	s, targets, err := o.hosts((*apply.Session).Read, args)
	if err != nil {
		return err
	}
	defer s.Close()
	h := targets[0].Host
	if !h.OnMachine() {
		return hint(usageError{fmt.Errorf("%q is on this computer, in %s", h.Name, h.Folder)}, "commands run there without any help")
	}
	if !h.Bought() || len(s.AdminCIDRs()) == 0 {
		if h.Bought() {
			fmt.Fprintf(c.OutOrStdout(), "%s lets SSH in from everywhere as far as %s's firewall goes, so what shuts it is on it.\n", h.Name, h.Provider)
		}
		console(c, h)
		return nil
	}
	network, err := o.network(c.Context(), s)
	if err != nil {
		return err
	}
	opening := deployment.Opening{CIDR: network, Until: time.Now().Add(o.limit).UTC().Truncate(time.Second), By: who()}
	return o.open(c, s, h, opening)
}

// open lets somebody in, and takes it back.
func (o *openSSHCmd) open(c *cobra.Command, s *apply.Session, h deployment.Host, opening deployment.Opening) error {
	open := func(ctx context.Context) error {
		err := o.change(ctx, func(ctx context.Context, s *apply.Session) error { return s.OpenSSH(ctx, opening) })
		if err == nil {
			fmt.Fprintf(c.OutOrStdout(), "the firewalls of all bought machines let in SSH from %s, too, until %s\n", opening.CIDR, opening.Until.Local().Format("15:04:05 on 2 Jan"))
			o.tryOut(c, s, h)
			fmt.Fprintln(c.OutOrStdout(), "leave this running; Ctrl-C takes it back now")
		}
		return err
	}
	shut := func(ctx context.Context) error {
		err := o.change(ctx, func(ctx context.Context, s *apply.Session) error { return s.ShutSSH(ctx, opening) })
		if err != nil {
			return o.left(c, opening, err)
		}
		fmt.Fprintf(c.OutOrStdout(), "SSH is let in from %s no more\n", opening.CIDR)
		return nil
	}
	return forATime(c.Context(), open, func(ctx context.Context) { waitUntil(ctx, opening.Until, time.Now) }, shut)
}

// forATime opens, waits and shuts; it shuts also at Ctrl-C, and where only some of the clouds have opened.
func forATime(ctx context.Context, open func(context.Context) error, wait func(context.Context), shut func(context.Context) error) error {
	err := open(ctx)
	var locked *apply.Locked
	if errors.As(err, &locked) { // it was ended while it waited, and nothing was begun
		return err
	}
	if err == nil {
		wait(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutLimit)
	defer cancel()
	return errors.Join(err, shut(ctx))
}

// waitUntil waits until that time by the clock on the wall. A timer's own clock stands while a computer sleeps, so it would
// come late by as long as that.
func waitUntil(ctx context.Context, until time.Time, now func() time.Time) {
	for {
		left := until.Round(0).Sub(now().Round(0))
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(left, wallTick)):
		}
	}
}

// wallTick is how often the clock on the wall is looked at.
const wallTick = 10 * time.Second

// shutAll takes back what any run of this command let in.
func (o *openSSHCmd) shutAll(c *cobra.Command) error {
	var shut []deployment.Opening
	err := o.change(c.Context(), func(ctx context.Context, s *apply.Session) (err error) {
		shut, err = s.ShutAllSSH(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, opening := range shut {
		fmt.Fprintf(c.OutOrStdout(), "SSH is let in from %s no more\n", opening.CIDR)
	}
	if len(shut) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "nobody is let in for a time")
	}
	return nil
}

// shutLimit bounds the taking back.
const shutLimit = 10 * time.Minute

// network is who is to be let in.
func (o *openSSHCmd) network(ctx context.Context, s *apply.Session) (string, error) {
	if o.from == "" {
		at := s.ComesFrom(ctx)
		if !at.IsValid() {
			return "", hint(usageError{errors.New("from which address you come cannot be told here")}, "find it out and run 'pressenter open-ssh NAME --from ADDRESS'")
		}
		return netip.PrefixFrom(at, at.BitLen()).String(), nil
	}
	if at, err := netip.ParseAddr(o.from); err == nil {
		return netip.PrefixFrom(at.Unmap(), at.Unmap().BitLen()).String(), nil
	}
	network, err := netip.ParsePrefix(o.from)
	if err != nil || network != network.Masked() || network.Addr().Is4In6() {
		return "", usageError{fmt.Errorf("--from %q is no address, and no network that starts at its own first address", o.from)}
	}
	if !o.wide && network.Bits() < narrowest(network.Addr()) {
		return "", hint(usageError{fmt.Errorf("--from %s would let in a large part of the internet", network)}, "name the address or the network that you come from; --wide lets in as many as that all the same")
	}
	return network.String(), nil
}

// narrowest is how many bits a network has to fix that is let in without a word: larger ones are nobody's own.
func narrowest(a netip.Addr) int {
	if a.Is4() {
		return 16
	}
	return 32
}

// change does something with the deployment locked, and for no longer: whoever is let in wants to apply.
func (o *openSSHCmd) change(ctx context.Context, do func(context.Context, *apply.Session) error) error {
	for {
		s, err := o.begin((*apply.Session).Open)
		if err == nil {
			err = do(ctx, s)
			s.Close()
		}
		var locked *apply.Locked
		if !errors.As(err, &locked) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// left says what became of an opening that was not made or not taken back in full.
func (o *openSSHCmd) left(c *cobra.Command, opening deployment.Opening, err error) error {
	fmt.Fprintf(c.ErrOrStderr(), "%s may be let in still: 'pressenter open-ssh --shut' takes it back, and so does an apply after %s\n",
		opening.CIDR, opening.Until.Local().Format("15:04:05 on 2 Jan"))
	return err
}

// tryOut says whether the server takes SSH now, and what to do if it does not.
func (o *openSSHCmd) tryOut(c *cobra.Command, s *apply.Session, h deployment.Host) {
	ctx, cancel := context.WithTimeout(c.Context(), tryLimit)
	defer cancel()
	if _, err := s.SeenFrom(ctx, h); err != nil {
		fmt.Fprintf(c.OutOrStdout(), "%s cannot be reached all the same: %v\n", h.Name, err)
		console(c, h)
		return
	}
	fmt.Fprintf(c.OutOrStdout(), "%s takes SSH: 'pressenter ssh %s'\n", h.Name, h.Name)
}

const tryLimit = 30 * time.Second

// console says how to open a server at its console.
func console(c *cobra.Command, h deployment.Host) {
	fmt.Fprintf(c.OutOrStdout(), `%s (%s) can be opened only by who reaches its console: at the provider's web site, by IPMI, or with a screen. There, as root:

  systemctl stop pressenter-agent pressenter-mesh     # or they close it again within 15 seconds; the node goes on
  nft delete table inet pressenter_underlay           # no packet filter, until the next boot
  rm /etc/ssh/sshd_config.d/10-pressenter.conf        # sshd takes what it took before
  systemctl restart ssh

Then, from here: pressenter harden %s
`, h.Name, h.Address, h.Name)
}
