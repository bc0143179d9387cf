package apply

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/tofu"
)

// ErrNothingBought says that no host of the config is bought from a cloud.
var ErrNothingBought = errors.New("no machine of this config is bought from a cloud")

// Eject writes the configuration of the machines that there are to an empty folder, as they were last applied, and returns
// how many of their parts it takes over. Where nothing is bought yet, 0, it is the configuration of what apply would buy.
func (s *Session) Eject(ctx context.Context, dir string) (taken int, err error) {
	if err := s.prepare(); err != nil {
		return 0, err
	}
	if err := s.recallClouds(ctx); err != nil {
		return 0, err
	}
	if len(s.clouds()) == 0 {
		return 0, ErrNothingBought
	}
	spec, err := s.taken(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(SSHKey(s.Dir)); errors.Is(err, fs.ErrNotExist) && len(spec.Imports) > 0 {
		return 0, s.keyGone()
	}
	return len(spec.Imports), provision.Eject(dir, spec)
}

// taken is what there is of machines, or what is wanted of them where there is nothing. What is let in for a time is left
// out: nobody would take it back.
func (s *Session) taken(ctx context.Context) (tofu.Spec, error) {
	i := s.want.Own
	i.Openings = nil
	if s.own.inventory.MachinesID == "" && (&provision.Workspace{Dir: s.machines()}).Blank() {
		return s.specOf(i)
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return tofu.Spec{}, err
	}
	i.MachinesID, i.AdminCIDRs = s.want.Own.MachinesID, s.AdminCIDRs()
	spec, err := s.recoveredSpec(ctx, w, i)
	if err != nil {
		return tofu.Spec{}, err
	}
	return w.Taken(ctx, spec)
}
