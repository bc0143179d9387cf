package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/invite"
	"github.com/pressenter/pressenter/internal/roster"
)

// newInviteCmd admits a host that the operator cannot reach.
func newInviteCmd(g *global) *cobra.Command {
	i := inviting{g: g}
	c := &cobra.Command{
		Use: "invite NAME", Short: "Let a host enrol itself as a sentry, with a code that you tell it", Args: cobra.ExactArgs(1),
		Long: "Print a code for a host that you cannot reach. Whoever sits there runs 'pressenter join' and types it. The host proves\n" +
			"its keys; you compare their fingerprint with what it shows and say yes; it is a member, and is told so once another\n" +
			"host knows it. The config must have it: a sentry with provider: invite. A code allows one guess and lives for --ttl.",
		RunE: func(c *cobra.Command, args []string) error {
			i.c, i.name = c, args[0]
			return i.run(c.Context())
		},
	}
	i.meeting.flags(c, true)
	c.Flags().StringVar(&i.role, "role", string(roster.RoleSentry), "what the host becomes; only sentries are invited")
	c.Flags().DurationVar(&i.ttl, "ttl", invite.TTL, "how long the code lives")
	c.Flags().BoolVarP(&i.yes, "yes", "y", false, "admit whoever has the code, without comparing fingerprints")
	c.Flags().BoolVar(&i.mayReplace, "replace", false, "with --yes: also where a member has that name and other keys, which is removed for ever")
	c.Flags().BoolVar(&i.asJSON, "json", false, "print what came of it as JSON, and everything else to standard error")
	return c
}

// inviting is one run of the command.
type inviting struct {
	g       *global
	c       *cobra.Command
	meeting meeting
	name    string
	role    string
	ttl     time.Duration
	yes     bool
	asJSON  bool
	// mayReplace stands for the answer that a person would give.
	mayReplace bool

	out     io.Writer // for people
	inviter invite.Inviter
	request invite.Request
	replace bool // the operator knows that the host takes another's place
}

func (i *inviting) check() error {
	if i.role != string(roster.RoleSentry) {
		return usageError{fmt.Errorf("role %q is not enrolled with a code, only %q is: a validator's host holds the consensus key and is your own", i.role, roster.RoleSentry)}
	}
	if !i.yes && !isTerminal(i.c.InOrStdin()) {
		return hint(usageError{errors.New("a person has to compare the host's fingerprint, and there is no terminal")}, "--yes admits whoever has the code")
	}
	if i.ttl < time.Second || i.ttl > 24*time.Hour {
		return usageError{fmt.Errorf("--ttl %v is not between 1s and 24h", i.ttl)}
	}
	return i.meeting.check(true)
}

func (i *inviting) run(ctx context.Context) error {
	if err := i.check(); err != nil {
		return err
	}
	if i.out = i.c.OutOrStdout(); i.asJSON {
		i.out = i.c.ErrOrStderr()
	}
	s, err := i.g.look()
	if err != nil {
		return err
	}
	defer s.Close()
	head, err := s.Invitable(ctx, i.name)
	if err != nil {
		return err
	}
	carrier, leave, err := i.meeting.open(ctx)
	if err != nil {
		return err
	}
	defer leave()
	carrier.Wait = i.ttl
	if i.inviter, err = s.Offer(head, i.name, offered(carrier.Relay)); err != nil {
		return err
	}
	if i.inviter.Code, err = carrier.NewCode(ctx); err != nil {
		return err
	}
	carrier.Waiting = sync.OnceFunc(func() { fmt.Fprintln(i.out, "waiting for the host …") }) // of three transfers
	i.inviter.Carrier, i.inviter.TTL, i.inviter.Confirm, i.inviter.Admit = carrier, i.ttl, i.confirm, i.admit
	fmt.Fprintf(i.out, "code: %s\n\nOn the host, with the chain's daemon and genesis there, type the code when this asks for it:\n"+
		"  pressenter join %s --daemon PATH --genesis FILE --p2p HOST:PORT --mesh HOST:PORT\n\nThe code allows one guess and lives for %v.\n",
		i.inviter.Code, i.meeting.told(carrier), i.ttl)
	phases, err := i.inviter.Run(ctx)
	if err != nil {
		return again(ctx, err, "interrupted; run 'pressenter invite "+i.name+"' again: a host that was admitted meanwhile is told so then")
	}
	return i.report(phases)
}

// offered is the relay as the offer holds it.
func offered(relay string) string {
	if reachable(relay) != relay {
		return ""
	}
	return relay
}

// confirm shows the host and asks.
func (i *inviting) confirm(ctx context.Context, r invite.Request) (bool, error) {
	i.request = r
	s, err := i.g.look()
	if err != nil {
		return false, err
	}
	defer s.Close()
	head, err := s.Invitable(ctx, i.name) // it may have changed
	if err != nil {
		return false, err
	}
	i.describe(r)
	question := fmt.Sprintf("Is this the host that you mean, with the same fingerprint there? Admit it as %s?", i.name)
	if was, other := apply.Replaces(head, r.Member(i.inviter.Offer)); other {
		i.replace = true
		fmt.Fprintf(i.out, "%s is a member already, with other keys (node %s, since generation %d). That host is removed for ever.\n", was.Name, was.NodeID, was.Since)
		question = fmt.Sprintf("Remove that host, and admit this one as %s?", i.name)
	}
	if i.yes {
		if i.replace && !i.mayReplace {
			return false, errors.New("that a member is removed needs a person's yes, or --replace")
		}
		return true, nil
	}
	type answer struct {
		yes bool
		err error
	}
	asked := make(chan answer, 1)
	go func() {
		yes, err := confirm(i.c, question, false)
		asked <- answer{yes, err}
	}()
	select {
	case a := <-asked:
		return a.yes, a.err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// describe prints what the host says of itself.
func (i *inviting) describe(r invite.Request) {
	rows := [][]string{
		{"name", i.name},
		{"role", i.role},
		{"fingerprint", r.Fingerprint()},
		{"calls itself", r.Hostname},
		{"runs", r.Platform()},
		{"node id", r.NodeID},
		{"p2p at", r.Endpoint},
		{"mesh at", r.MeshEndpoint},
		{"relays at", r.Relay},
	}
	fmt.Fprintln(i.out, "\nA host has the code:")
	for _, row := range rows {
		if row[1] == "" {
			row[1] = "-"
		}
		fmt.Fprintf(i.out, "  %-12s  %s\n", row[0], row[1])
	}
}

// lockPatience is how long an admission waits for somebody who changes the deployment: an apply that restarts the
// validator takes most of a minute. A refusal would cost another code.
const lockPatience = 90 * time.Second

// admit publishes the generation that has the host, under the deployment's locks.
func (i *inviting) admit(ctx context.Context, r invite.Request) ([][]byte, error) {
	waiting, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	said := ""
	for {
		s, err := i.locked(ctx)
		if err == nil {
			defer s.Close()
			return s.Invite(ctx, r.Member(i.inviter.Offer), i.replace)
		}
		var locked *apply.Locked
		if !errors.As(err, &locked) {
			return nil, err
		}
		if said != locked.Who {
			said = locked.Who
			fmt.Fprintf(i.c.ErrOrStderr(), "waiting for %s, who is changing %s\n", locked.Who, locked.Where)
		}
		select {
		case <-waiting.Done():
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

// locked opens the deployment with its locks.
func (i *inviting) locked(ctx context.Context) (*apply.Session, error) {
	s, err := i.g.open()
	if err != nil {
		return nil, err
	}
	if err := s.LockHosts(ctx); err != nil {
		s.Close()
		return nil, err
	}
	s.Progress = func(e apply.Event) { fmt.Fprintln(i.c.ErrOrStderr(), e.Word) }
	return s, nil
}

// report says what came of it.
func (i *inviting) report(p invite.Phases) error {
	if i.asJSON {
		return printJSON(i.c.OutOrStdout(), struct {
			Name        string             `json:"name"`
			Role        string             `json:"role"`
			NodeID      string             `json:"node_id"`
			Identity    string             `json:"identity"`
			Fingerprint string             `json:"fingerprint"`
			Replaced    bool               `json:"replaced"`
			Seconds     map[string]float64 `json:"seconds"`
		}{i.name, i.role, i.request.NodeID, i.request.Identity.String(), i.request.Fingerprint(), i.replace, seconds(phases(p))})
	}
	fmt.Fprintf(i.out, "%s %s is a member and knows it\ntook %s\nnext: pressenter apply brings it into the settings of the other nodes; pressenter mesh status shows its tunnels\n",
		styleFor(i.out).good("✔"), i.name, phaseWords(phases(p)))
	return nil
}

// phase is a part of an enrolment and how long it took.
type phase struct {
	name string
	took time.Duration
}

func phases(p invite.Phases) []phase {
	return []phase{
		{"offer", p.Offer}, {"request", p.Request}, {"confirm", p.Confirm}, {"admit", p.Admit}, {"admission", p.Admission}, {"store", p.Store},
	}
}

func phaseWords(ps []phase) string {
	var total time.Duration
	words := ""
	for _, p := range ps {
		if p.took > 0 {
			words += fmt.Sprintf(" %s=%.2fs", p.name, p.took.Seconds())
			total += p.took
		}
	}
	return fmt.Sprintf("%.2fs:%s", total.Seconds(), words)
}

func seconds(ps []phase) map[string]float64 {
	out := map[string]float64{}
	for _, p := range ps {
		if p.took > 0 {
			out[p.name] = p.took.Seconds()
		}
	}
	return out
}
