package apply

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// publishTarget publishes the generation that the deployment should have, if it is not the head already.
func (s *Session) publishTarget(ctx context.Context, side *sideState, want *deployment.Inventory) error {
	k, err := s.keys(side)
	if err != nil {
		return err
	}
	if err := s.adoptAll(ctx, side); err != nil { // agents that were down when the plan was made run by now
		return err
	}
	enrolled, err := s.enrolledOf(ctx, side)
	if err != nil {
		return err
	}
	chain := s.want.Chain
	genesis, err := s.genesisHash()
	if err != nil {
		return err
	}
	chain.GenesisSHA256 = genesis
	peers, err := s.peersOf(ctx, side)
	if err != nil {
		return err
	}
	for range maxGenerations {
		head := side.rosters.State().Head
		target := plan.Target(*want, chain, head, enrolled, peers, k.AdminPublic())
		if target == nil {
			break
		}
		if err := s.mayLeave(ctx, side, head, target); err != nil {
			return err
		}
		if err := s.sign(side, target); err != nil {
			return err
		}
		if retires(head, target) || announces(target) || leaves(head, target) {
			// Everybody acknowledges that a holder is retired before anybody is assigned, knows a next mesh key before
			// its host changes to it, and has ended the mesh of one driver before that of another begins.
			if err := s.pushAll(ctx, side); err != nil {
				return err
			}
			if enrolled, err = s.rotated(ctx, side, target); err != nil {
				return err
			}
		}
	}
	return s.pushAll(ctx, side)
}

// rotated waits until every host uses the mesh key that the roster puts into use, and returns what hosts say then.
func (s *Session) rotated(ctx context.Context, side *sideState, r *roster.Roster) (map[string]api.Enrolled, error) {
	for _, h := range side.inventory.Hosts {
		m, member := r.Member(h.Name)
		if !member || m.Mesh.Next.IsZero() {
			continue
		}
		err := s.poll(ctx, h, func(st api.HostStatus) error {
			if e := st.Enrolled; e != nil && !st.Intent.Held && bytes.Equal(e.NextMeshKey, m.Mesh.Key[:]) {
				return errors.New("it has not changed to its next mesh key yet")
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("change the mesh key of %q: %w", h.Name, err)
		}
	}
	return s.enrolledOf(ctx, side)
}

// retires says whether a generation takes the consensus key from its holder.
func retires(head, target *roster.Roster) bool {
	return head != nil && head.Signer.Holder != "" && target.Signer.Holder == ""
}

// announces says whether a generation names a mesh key that a host will change to.
func announces(r *roster.Roster) bool {
	return slices.ContainsFunc(r.Members, func(m roster.Member) bool { return !m.Mesh.Next.IsZero() })
}

// leaves says whether a generation ends the mesh.
func leaves(head, target *roster.Roster) bool {
	return head != nil && head.MeshDriver != "" && target.MeshDriver == ""
}

// maxGenerations bounds how many generations one change may take: admit, then assign; a mesh key takes three.
const maxGenerations = 5

func (s *Session) genesisHash() (roster.Hash, error) {
	sum, err := atomicfile.SHA256(s.Dir.Genesis() + "/genesis.json")
	if err != nil {
		return roster.Hash{}, fmt.Errorf("read genesis: %w", err)
	}
	return roster.ParseHash(sum)
}

// peersOf are the nodes of the other side that the nodes of a side dial.
func (s *Session) peersOf(ctx context.Context, side *sideState) ([]string, error) {
	other, peers := s.world, plan.OwnPeers
	if side == s.world {
		other, peers = s.own, plan.WorldPeers
	}
	enrolled, err := s.enrolledOf(ctx, other)
	if err != nil {
		return nil, err
	}
	for _, h := range s.wanted(other).Hosts {
		if _, ok := enrolled[h.Name]; !ok {
			return nil, fmt.Errorf("host %q is not enrolled yet", h.Name)
		}
	}
	return peers(s.want, enrolled), nil
}

// publish signs a generation and brings it to every host. A host where somebody else was first refuses, and then
// nothing more is sent.
func (s *Session) publish(ctx context.Context, side *sideState, r *roster.Roster) error {
	if err := s.sign(side, r); err != nil {
		return err
	}
	return s.pushAll(ctx, side)
}

// sign signs a generation and keeps it durably here.
func (s *Session) sign(side *sideState, r *roster.Roster) error {
	k, err := s.keys(side)
	if err != nil {
		return err
	}
	key := k.AdminKey()
	defer clear(key)
	env, err := roster.Sign(r, key)
	if err != nil {
		return err
	}
	return side.rosters.Publish([]roster.Envelope{env})
}

// pushAll brings every host of the inventory to the newest generation, and waits until each obeys it. Of a sentry that has
// left the roster nothing depends on that: it waits to be destroyed.
func (s *Session) pushAll(ctx context.Context, side *sideState) error {
	head := side.rosters.State().Head
	g, ctx := errgroup.WithContext(ctx)
	for _, h := range side.inventory.All() {
		if !h.Exists() {
			continue // noted, and not made yet
		}
		needed := true
		if head != nil && h.Role == roster.RoleSentry {
			_, member := head.Member(h.Name)
			needed = member && serving(side, h).Machine() == h.Machine() // not one that is to be the member, and is half made
		}
		g.Go(func() error {
			if needed && !side.inventory.WasReplaced(h) {
				return s.push(ctx, side, h)
			}
			within, cancel := context.WithTimeout(ctx, partingTimeout)
			defer cancel()
			if err := s.push(within, side, h); err != nil {
				s.passOver(h, err)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// partingTimeout bounds how long a sentry is waited for on which nothing depends.
const partingTimeout = 15 * time.Second

// passOver tells that a sentry on which nothing depends did not do its part. One that was broken into, for which it is
// replaced, must not be able to keep that from being done.
func (s *Session) passOver(h deployment.Host, err error) {
	s.progress(Event{Word: fmt.Sprintf("going on without %s (%s), which leaves: %v", h.Name, h.Machine(), err), Why: true})
}

// push brings one host to the newest generation and waits until it has followed it.
func (s *Session) push(ctx context.Context, side *sideState, h deployment.Host) error {
	c := s.Provider.Client(h)
	defer c.Close()
	known, err := c.Rosters(ctx)
	if err != nil {
		return err
	}
	have := map[roster.Hash]bool{}
	for _, b := range known.Envelopes {
		e, err := roster.DecodeEnvelope(b)
		if err != nil {
			return fmt.Errorf("read rosters of %q: %w", h.Name, err)
		}
		have[e.Hash()] = true
	}
	req := api.PublishRequest{Newest: true}
	for _, e := range side.rosters.Envelopes() {
		if !have[e.Hash()] {
			req.Envelopes = append(req.Envelopes, roster.EncodeEnvelope(e))
		}
	}
	if req.Evidence, err = forked(req.Envelopes); err != nil {
		return err
	}
	if _, err := c.Publish(ctx, req); err != nil {
		return err
	}
	return s.acknowledged(ctx, side, h)
}

// forked says whether a fork or what heals one is among the envelopes. Its sides and the generation that follows both
// are taken together; otherwise each generation must follow exactly what the host knows.
func forked(envelopes [][]byte) (bool, error) {
	followed := map[roster.Hash]bool{}
	for _, b := range envelopes {
		e, err := roster.DecodeEnvelope(b)
		if err != nil {
			return false, err
		}
		r, err := roster.Parse(e.Payload)
		if err != nil {
			return false, err
		}
		if len(r.Parents) > 1 {
			return true, nil
		}
		for _, p := range r.Parents {
			if followed[p] {
				return true, nil
			}
			followed[p] = true
		}
	}
	return false, nil
}

// adoptAll learns what any host knows of the roster. It is an error when that is not what the plan was made for.
func (s *Session) adoptAll(ctx context.Context, side *sideState) error {
	before := side.rosters.State().Heads
	err := s.adoptFrom(ctx, side, func(h deployment.Host, _ error) bool { return s.leaves(side, h) })
	if err != nil {
		return err
	}
	if !slices.Equal(before, side.rosters.State().Heads) {
		return errors.New("a host knows of a roster that this plan was not made for; run 'pressenter apply' again")
	}
	return nil
}

// adoptReachable learns what those hosts know of the roster that answer. No plan is needed for it, so that a deployment
// whose config cannot be planned now still starts.
func (s *Session) adoptReachable(ctx context.Context, side *sideState) error {
	return s.adoptFrom(ctx, side, func(h deployment.Host, err error) bool {
		away := (*api.Unreachable)(nil)
		return errors.As(err, &away) || side.inventory.WasReplaced(h)
	})
}

// leaves says whether nothing depends on a sentry any more, wherever a dead one, or one that was broken into, must be
// removable: it was replaced or is being, or the config does not name it.
func (s *Session) leaves(side *sideState, h deployment.Host) bool {
	_, wanted := s.wanted(side).Host(h.Name)
	return h.Role == roster.RoleSentry && (side.inventory.WasReplaced(h) || !wanted || side == s.own && h.Name == s.want.Replace)
}

// adoptFrom learns what the hosts of the inventory know of the roster, but for those that may fail and do.
func (s *Session) adoptFrom(ctx context.Context, side *sideState, mayFail func(deployment.Host, error) bool) error {
	for _, h := range side.inventory.All() {
		if !h.Exists() {
			continue
		}
		err := s.adoptOf(ctx, side, h)
		switch {
		case err == nil:
		case ctx.Err() == nil && mayFail(h, err):
			s.progress(Event{Word: fmt.Sprintf("rosters of %s (%s) were not adopted: %v", h.Name, h.Machine(), err)})
		default:
			return fmt.Errorf("adopt the rosters of %q: %w", h.Name, err)
		}
	}
	return nil
}

// adoptOf learns what one host knows of the roster.
func (s *Session) adoptOf(ctx context.Context, side *sideState, h deployment.Host) error {
	if s.leaves(side, h) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, partingTimeout)
		defer cancel()
	}
	c := s.Provider.Client(h)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	return s.adopt(ctx, side, c, st)
}

// acknowledged waits until the host's files and processes follow the head, or it says why it will not.
func (s *Session) acknowledged(ctx context.Context, side *sideState, h deployment.Host) error {
	state := side.rosters.State()
	if state.Head == nil {
		return nil
	}
	head := state.Heads[0].String()
	return s.poll(ctx, h, func(st api.HostStatus) error {
		if st.Roster.Applied == head {
			return nil
		}
		if st.Intent.Held {
			// It will follow when it is released; but one that may be signing has not given up what it held.
			if h.Role == roster.RoleValidator && st.Signing.State == signing.Armed && state.Head.Signer.Holder != h.Name {
				return errors.New("it is held and its key is armed: 'pressenter hold --release' first")
			}
			return nil
		}
		if why := cmp.Or(st.Roster.Behind, st.Reason); why != "" {
			return errors.New(why)
		}
		return errors.New("it has not followed the roster yet")
	})
}

// heal publishes a generation that follows every head of a fork.
func (s *Session) heal(ctx context.Context, side *sideState) error {
	state := side.rosters.State()
	if !state.Fork {
		return nil
	}
	var heads []*roster.Roster
	for _, e := range side.rosters.Envelopes() {
		for _, h := range state.Heads {
			if e.Hash() != h {
				continue
			}
			r, err := roster.Parse(e.Payload)
			if err != nil {
				return err
			}
			heads = append(heads, r)
		}
	}
	return s.publish(ctx, side, roster.Heal(heads...))
}
