package apply

import (
	"context"

	"github.com/pressenter/pressenter/internal/roster"
)

// Head is the newest roster of our own deployment that is known here, nil while there is none or two contradict each
// other.
func (s *Session) Head() *roster.Roster { return s.own.rosters.State().Head }

// RotateMesh lets hosts of our own deployment bear the mesh keys that they will change to. The next plan announces them.
// Where one of the hosts cannot be asked, none bears any.
func (s *Session) RotateMesh(ctx context.Context, targets []Target) error {
	err := s.each(ctx, targets, func(ctx context.Context, t Target) error {
		if t.World {
			return nil
		}
		c := s.Client(t)
		defer c.Close()
		_, err := c.Rosters(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return s.each(ctx, targets, func(ctx context.Context, t Target) error {
		if t.World {
			return nil // the rest of the network has no mesh
		}
		c := s.Client(t)
		defer c.Close()
		_, err := c.RotateMesh(ctx)
		return err
	})
}
