package apply

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
)

// OpenSSH lets a network in by SSH, through the clouds' firewalls of all machines. It is noted first: if this run, or the
// one that is to shut it, is cut off, the next apply after its time takes it back. While somebody else changes the machines
// it is a *Locked, and nothing is noted.
func (s *Session) OpenSSH(ctx context.Context, o deployment.Opening) error {
	if err := s.lockMachines(); err != nil {
		return err
	}
	all := plan.Opened(s.own.inventory.Openings, time.Now())
	s.own.inventory.Openings = append(all, o)
	if err := s.own.dir.SaveInventory(s.own.inventory); err != nil {
		return err
	}
	if err := s.changeFirewalls(ctx); err != nil {
		return fmt.Errorf("let %s in: %w", o.CIDR, err)
	}
	return nil
}

// ShutSSH takes an opening back, with all that are over. It stays noted until the clouds have done it.
func (s *Session) ShutSSH(ctx context.Context, o deployment.Opening) error {
	noted := s.own.inventory.Openings
	s.own.inventory.Openings = slices.DeleteFunc(plan.Opened(noted, time.Now()), func(other deployment.Opening) bool {
		return other.CIDR == o.CIDR && other.Until.Equal(o.Until)
	})
	if err := s.changeFirewalls(ctx); err != nil {
		s.own.inventory.Openings = noted
		return fmt.Errorf("let %s in no more: %w", o.CIDR, err)
	}
	return s.own.dir.SaveInventory(s.own.inventory)
}

// ShutAllSSH takes all openings back, and says which there were. They stay noted until the clouds have done it.
func (s *Session) ShutAllSSH(ctx context.Context) ([]deployment.Opening, error) {
	noted := s.own.inventory.Openings
	if len(noted) == 0 {
		return nil, nil
	}
	s.own.inventory.Openings = nil
	if err := s.changeFirewalls(ctx); err != nil {
		s.own.inventory.Openings = noted
		return nil, fmt.Errorf("let in nobody for a time any more: %w", err)
	}
	return noted, s.own.dir.SaveInventory(s.own.inventory)
}

// AdminCIDRs are from where the clouds' firewalls let SSH in by now, none from everywhere, whatever the config says since:
// of an edit of it only a plan says whom it locks out.
func (s *Session) AdminCIDRs() []string {
	if applied := s.own.inventory.AdminCIDRs; applied != nil {
		return applied
	}
	return s.Config.Admin.CIDRs // it was applied before that was noted
}

// changeFirewalls has the clouds let in who the inventory says, and changes nothing else, whatever else has changed since the
// last apply: an apply ends where a machine lets nobody in, and this is the way back.
func (s *Session) changeFirewalls(ctx context.Context) error {
	s.want.Own = s.own.inventory
	s.want.Own.AdminCIDRs = s.AdminCIDRs()
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	spec, err := s.recoveredSpec(ctx, w, s.want.Own)
	if err != nil {
		return err
	}
	p, err := w.Firewalls(ctx, spec)
	if err != nil {
		return err
	}
	return w.Apply(ctx, p)
}

// ComesFrom is from where machines see us come, as far as that can be known: whoever can be reached says so, or this
// computer has an address of the internet's own. Zero, if not.
func (s *Session) ComesFrom(ctx context.Context) netip.Addr {
	if s.SeenFrom == nil {
		return ownAddress()
	}
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	var all sync.WaitGroup
	first := make(chan netip.Addr, 1)
	for _, h := range s.own.inventory.Hosts {
		if !h.OnMachine() || h.Address == "" {
			continue
		}
		all.Go(func() {
			at, err := s.SeenFrom(ctx, h)
			if err != nil || !at.IsGlobalUnicast() || at.IsPrivate() {
				return // a server in our own network says nothing about the internet
			}
			select {
			case first <- at:
				cancel() // one is enough
			default:
			}
		})
	}
	all.Wait()
	select {
	case at := <-first:
		return at
	default:
		return ownAddress()
	}
}

// lasting are changes without those of the firewalls of hosts that leave: these follow who may log in until their machines
// are given back, and a plan shows only that they are.
func (s *Session) lasting(changes []provision.Change) []provision.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c provision.Change) bool {
		name, _, _ := strings.Cut(c.Host, "/")
		_, wanted := s.want.Own.OnMachineOf(name)
		return !wanted && c.Kind == provision.Firewall && name != ""
	})
}
