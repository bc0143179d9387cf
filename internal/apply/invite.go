package apply

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/invite"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// NotInvited says why a host cannot be invited now, and what to do.
type NotInvited struct{ Why, Next string }

// Error implements error.
func (e *NotInvited) Error() string { return e.Why }

// Invitable looks at the newest roster that any host has, and returns it if a host of that name can be invited into it.
// It needs no lock.
func (s *Session) Invitable(ctx context.Context, name string) (*roster.Roster, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s.invitable(ctx, name)
}

func (s *Session) invitable(ctx context.Context, name string) (*roster.Roster, error) {
	if _, ok := s.want.Own.InvitedHost(name); !ok {
		return nil, &NotInvited{
			fmt.Sprintf("the config has no sentry %q with provider: invite", name),
			fmt.Sprintf("add it to the sentries of the config: - {name: %s, provider: invite}", name),
		}
	}
	if err := s.adoptReachable(ctx, s.own); err != nil {
		return nil, err
	}
	state := s.own.rosters.State()
	const apply = "run 'pressenter apply' first"
	switch _, ours := s.own.inventory.Host(name); {
	case state.Fork:
		return nil, &NotInvited{"the roster is forked", "run 'pressenter plan' to see the healing, then 'pressenter apply'"}
	case state.Head == nil || state.Head.MeshDriver == "" || state.Head.MeshDriver != s.want.Own.MeshDriver || state.Head.Chain.GenesisSHA256.IsZero():
		return nil, &NotInvited{"the deployment is not what the config says yet", apply}
	case ours:
		return nil, &NotInvited{fmt.Sprintf("a host %q of ours is not removed yet", name), apply}
	}
	return state.Head, nil
}

// Offer returns what offers a host of that name a place in the deployment of head, which Invitable returned. A daemon for
// this computer's platform is the one that was staged here, unless the roster names another.
func (s *Session) Offer(head *roster.Roster, name, relay string) (invite.Inviter, error) {
	o, private, err := invite.NewOffer(head, name, roster.RoleSentry, relay)
	if err != nil {
		return invite.Inviter{}, err
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	if _, known := o.Binary(platform); !known {
		sum, err := roster.ParseHash(s.daemon.SHA256)
		if err != nil {
			return invite.Inviter{}, fmt.Errorf("digest of the daemon: %w", err)
		}
		o.Binaries = append(o.Binaries, roster.Binary{Platform: platform, SHA256: sum})
	}
	return invite.Inviter{Offer: o, Private: private}, nil
}

// Replaces returns the member that admitting m would remove, because it has its name and other keys: a host that was
// lost, or that somebody took the place of.
func Replaces(head *roster.Roster, m roster.Member) (roster.Member, bool) {
	was, member := head.Member(m.Name)
	return was, member && was.Identity != m.Identity
}

// ackGrace is how much longer than the first host the others may take to acknowledge a host that was admitted. Who does
// not learn it then learns it from the mesh.
const ackGrace = 2 * time.Second

// Invite makes m a member and returns once a host has acknowledged that, with every envelope, parents first. The session
// is open and holds the locks. A host that is that member already changes nothing. A member of the same name and other
// keys is removed first, if replace says that the operator knows.
func (s *Session) Invite(ctx context.Context, m roster.Member, replace bool) ([][]byte, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	return s.invite(ctx, m, replace)
}

func (s *Session) invite(ctx context.Context, m roster.Member, replace bool) ([][]byte, error) {
	head, err := s.invitable(ctx, m.Name)
	if err != nil {
		return nil, err
	}
	var generations []*roster.Roster
	if was, other := Replaces(head, m); other {
		if !replace {
			return nil, fmt.Errorf("%q is a member with other keys (%s), and nobody said that it may be removed", m.Name, was.Identity)
		}
		head = plan.Evict(s.want.Own, head, m.Name)
		generations = append(generations, head)
	}
	if next := plan.Admit(s.want.Own, head, m); next != nil {
		generations = append(generations, next)
	}
	for _, r := range generations { // all or none: a host that cannot be admitted must not cost another its place
		if err := r.Check(); err != nil {
			return nil, fmt.Errorf("admit %q: %w", m.Name, err)
		}
	}
	for _, r := range generations {
		if err := s.sign(s.own, r); err != nil {
			return nil, err
		}
	}
	if err := s.spread(ctx); err != nil {
		return nil, fmt.Errorf("admit %q: %w", m.Name, err)
	}
	var out [][]byte
	for _, e := range s.own.rosters.Envelopes() {
		out = append(out, roster.EncodeEnvelope(e))
	}
	return out, nil
}

// spread brings the newest generation to every host of ours that can be reached, and returns soon after the first has
// acknowledged it.
func (s *Session) spread(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hosts := slices.Clone(s.own.inventory.Hosts)
	for i, h := range hosts {
		hosts[i] = serving(s.own, h)
	}
	type told struct {
		host deployment.Host
		err  error
	}
	answers := make(chan told, len(hosts))
	for _, h := range hosts {
		go func() { answers <- told{h, s.push(ctx, s.own, h)} }()
	}
	var errs []error
	var enough <-chan time.Time
	for range hosts {
		select {
		case a := <-answers:
			if a.err != nil {
				errs = append(errs, a.err)
				s.progress(Event{Word: fmt.Sprintf("%s has not acknowledged it: %v", a.host.Name, a.err)})
				continue
			}
			if enough == nil {
				grace := time.NewTimer(ackGrace)
				defer grace.Stop()
				enough = grace.C
			}
		case <-enough:
			return nil
		}
	}
	if enough == nil {
		return errors.Join(append(errs, errors.New("no host has acknowledged the roster that has it; run 'pressenter apply' and invite it again"))...)
	}
	return nil
}
