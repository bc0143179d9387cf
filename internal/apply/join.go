package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/takeover"
)

// Adoption is the server that brought the network; nil: none did.
func (s *Session) Adoption() *deployment.Adoption { return s.own.inventory.Adoption }

// Join puts the deployment on the network of a node that runs already. Nothing is changed on its server. Joined again, what was
// read of the node is brought up to date; another network can be joined as long as nothing was made.
func (s *Session) Join(a deployment.Adoption, chainID string, genesis []byte) error {
	inv := &s.own.inventory
	was := inv.Adoption
	same := was != nil && was.Genesis == a.Genesis && was.Address == a.Address && bytes.Equal(was.PubKey, a.PubKey)
	blank := len(inv.Hosts) == 0 && s.own.rosters.State().Head == nil
	switch {
	case was == nil && inv.Deployment != "", was != nil && !same && (!blank || was.Begun || was.Taken):
		return &plan.Refusal{Why: "this deployment is on a network already", Next: "make another deployment in a folder of its own"}
	case same && (was.Begun || was.Taken) && !a.Begun: // what was begun there is by what was noted then
		a = *was
	case same:
		a.Taken, a.Kept = a.Taken || was.Taken, was.Kept
	}
	if a.BlockTime == 0 && same {
		a.BlockTime = was.BlockTime
	}
	a.Peers = slices.DeleteFunc(slices.Clone(a.Peers), func(p string) bool { // it will be a member, whom no roster names as a peer
		id, _, _ := strings.Cut(p, "@")
		return id == a.NodeID
	})
	inv.Deployment, inv.ChainID, inv.Adoption = s.Config.Name, chainID, &a
	if err := s.save(); err != nil { // first: a genesis without it would be taken for one that was made here
		return err
	}
	if err := os.MkdirAll(s.Dir.Genesis(), 0o700); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(s.Dir.Genesis(), "genesis.json"), genesis, 0o600); err != nil {
		return fmt.Errorf("keep genesis: %w", err)
	}
	return nil
}

// between refuses what may not be done while a server is between its unit and ours: until the host is enrolled and the sealed
// backup of its key is kept here. What is not known here, of an inventory that is older, is asked for first.
func (s *Session) between(ctx context.Context, keys bool) error {
	a := s.Adoption()
	switch {
	case a == nil || a.Kept:
		return nil
	case !a.Begun && !a.Taken:
		if err := s.adoptReachable(ctx, s.own); err != nil || a.Kept {
			return err
		}
	}
	h := s.adopted()
	st, err := s.TakeoverAt(ctx, h)
	if !a.Begun && !a.Taken && (err != nil || st.Phase == takeover.None || !s.comes(s.own, h)) {
		return nil // nothing is known of a takeover, and nobody there knows more; or the roster does
	}
	named := slices.Contains(s.Unreached, a.Host) && !keys
	gone := err == nil && st.Phase == takeover.None || errors.As(err, new(*Anothers))
	switch {
	case gone && !a.Taken: // it was refused, or undone from elsewhere
		a.Begun = false
		return s.save()
	case (gone || err != nil) && named:
		s.progress(Event{Word: fmt.Sprintf("%s is left as it is: %s may sign if its server comes back", a.Host, a.Unit), Why: true})
		return nil
	case gone:
		err = errors.New("its server knows of no takeover: it was put back to an earlier state, or installed anew")
		fallthrough
	case err != nil:
		return &plan.Refusal{
			Why: fmt.Sprintf("%s is being taken over from %s, and its server may have the only copy of the key: %v", a.Host, a.Unit, err),
			Next: fmt.Sprintf("bring it back; or, if it is dead or not yours any more, run 'pressenter destroy --unreached %s': the server is left as it is, "+
				"its old unit may sign if it comes back, and the operator's keys are kept", a.Host),
		}
	case st.Phase == takeover.Done && s.kept(ctx, h):
		a.Kept = true
		return s.save()
	}
	next := fmt.Sprintf("run 'pressenter adopt %s --take-over' to finish that", a.Host)
	if st.Phase == takeover.Silencing || st.Phase == takeover.Undoing {
		next += fmt.Sprintf(", or 'pressenter adopt %s --undo'", a.Host)
	}
	return &plan.Refusal{Why: fmt.Sprintf("%s is being taken over from %s", a.Host, a.Unit), Next: next}
}

// kept says whether a host is enrolled and the sealed backup of its key is here.
func (s *Session) kept(ctx context.Context, h deployment.Host) bool {
	st, err := s.Provider.Inspect(ctx, h)
	return err == nil && st.Enrolled != nil && len(st.Enrolled.Backup) > 0 && s.own.dir.HasBackup(h.Name, st.Enrolled.Backup)
}

// comes says whether a host is the adopted one, of which the roster does not have the key yet.
func (s *Session) comes(side *sideState, h deployment.Host) bool {
	head := side.rosters.State().Head
	return side == s.own && s.want.Existing() && h.Role == roster.RoleValidator && (head == nil || head.Signer.PubKey.IsZero())
}

// mayMake refuses to make a host of a server that does not say that it was taken over.
func (s *Session) mayMake(ctx context.Context, side *sideState, h deployment.Host) error {
	if !s.comes(side, h) {
		return nil
	}
	st, err := s.TakeoverAt(ctx, h)
	if err != nil {
		return err
	}
	if st.Phase != takeover.Done {
		return &plan.Refusal{
			Why:  fmt.Sprintf("%s was taken over, and its server does not say so: it was put back to an earlier state, or installed anew", h.Name),
			Next: fmt.Sprintf("run 'pressenter adopt %s --take-over': it looks at the server again", h.Name),
		}
	}
	return nil
}

// isIt says whether a server that was taken over has the key that was taken over.
func (s *Session) isIt(side *sideState, h deployment.Host, e api.Enrolled) error {
	if a := s.Adoption(); s.comes(side, h) && !bytes.Equal(e.Consensus, a.PubKey) {
		return &plan.Refusal{
			Why:  fmt.Sprintf("%s has another consensus key than the one that was taken over: its server was put back to an earlier state, or installed anew. Nothing was published", h.Name),
			Next: "bring the server back as it was: it has the key that was taken over",
		}
	}
	return nil
}

// noteKept notes that the key of the adopted server is backed up here.
func (s *Session) noteKept(side *sideState, h deployment.Host) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := side.inventory.Adoption
	if a == nil || a.Host != h.Name || a.Kept {
		return nil
	}
	a.Kept = true
	return side.dir.SaveInventory(side.inventory)
}
