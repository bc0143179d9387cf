package plan

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/roster"
)

func (s *sim) publishTarget(i int, w Want, want deployment.Inventory) error {
	var peers []string
	chain := w.Chain
	var err error
	if chain.GenesisSHA256, err = roster.ParseHash(s.genesis); err != nil {
		return err
	}
	if i == 1 {
		peers = OwnPeers(w, s.enrolled(0))
	} else {
		peers = WorldPeers(w, s.enrolled(1))
	}
	for _, h := range w.Own.Hosts { // as apply's peersOf does
		if v := s.hosts[1][h.Name]; i == 0 && (v == nil || v.enrolled == nil) {
			return fmt.Errorf("host %q is not enrolled yet", h.Name)
		}
	}
	for range 3 {
		var head *roster.Roster
		if s.logs[i] != nil {
			head = s.logs[i].State().Head
		}
		target := Target(want, chain, head, s.enrolled(i), peers, s.admins[i].Public().(ed25519.PublicKey))
		if target == nil {
			break
		}
		if err := s.publish(i, target); err != nil {
			return err
		}
		if head != nil && head.Signer.Holder != "" && target.Signer.Holder == "" {
			if err := s.pushAll(i); err != nil { // everybody acknowledges that the signer is retired
				return err
			}
		}
	}
	return s.pushAll(i)
}

func (s *sim) publish(i int, r *roster.Roster) error {
	e, err := roster.Sign(r, s.admins[i])
	if err != nil {
		return err
	}
	if s.logs[i] == nil {
		s.logs[i] = roster.NewLog(r.Hash())
	}
	return s.logs[i].Publish(e)
}

func (s *sim) pushAll(i int) error {
	var errs []error
	head := s.logs[i].State().Head
	for _, h := range s.saved[i].Replaced {
		if v := s.old[h.Machine()]; v != nil && v.enrolled != nil && head.Tombstoned(roster.Key(v.enrolled.Identity)) && !s.lost[h.Machine()] {
			v.revision = ""
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.hosts[i])) {
		err := s.push(i, name)
		if s.needs(i, head, name) || !errors.Is(err, errUnreachable) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// needs says whether a host has to follow a roster: it has it, and not the machine whose place it is to take.
func (s *sim) needs(i int, head *roster.Roster, name string) bool {
	m, member := head.Member(name)
	return member && !slices.ContainsFunc(s.saved[i].Replaced, func(h deployment.Host) bool { return h.Identity == m.Identity })
}

// push tells a host the newest roster; the host follows it.
func (s *sim) push(i int, name string) error {
	v := s.hosts[i][name]
	if h, _ := s.saved[i].Host(name); v == nil || !v.agent || s.lost[h.Machine()] {
		return fmt.Errorf("host %s: %w", name, errUnreachable)
	}
	state := s.logs[i].State()
	v.learned, v.heads = true, nil
	for _, h := range state.Heads {
		v.heads = append(v.heads, h.String())
	}
	return s.turn(i, name)
}

// turn is what a host's agent does by itself.
func (s *sim) turn(i int, name string) error {
	v := s.hosts[i][name]
	if !v.agent || !v.learned || v.intent.Held || s.logs[i] == nil {
		return nil
	}
	state := s.logs[i].State()
	m, member := state.Effective.Member(name)
	switch {
	case !member || v.intent.Stopped:
		v.revision, v.core = "", ""
	case state.Effective.Enrolled() && v.genesis:
		h, _ := s.saved[i].Host(name)
		o := s.observeHost(i, h)
		f, err := node.Settings(state.Effective, m, local(o, state.Effective, m))
		if err != nil {
			return err
		}
		if v.revision == "" || v.restart != m.Restart || v.core == f.Core() { // started, or told while it runs
			v.revision, v.core, v.restart, v.follows = f.Revision(), f.Core(), m.Restart, nil
			for _, p := range node.Dials(state.Effective, m, node.LocalOf(v.listen)) {
				v.follows = append(v.follows, p.NodeID)
			}
		}
	}
	return nil
}

// heal publishes a generation that names all heads.
func (s *sim) heal(i int) error {
	var heads []*roster.Roster
	for _, h := range s.logs[i].State().Heads {
		e, _ := s.logs[i].Get(h)
		r, err := roster.Parse(e.Payload)
		if err != nil {
			return err
		}
		heads = append(heads, r)
	}
	if err := s.publish(i, roster.Heal(heads...)); err != nil {
		return err
	}
	return s.pushAll(i)
}
