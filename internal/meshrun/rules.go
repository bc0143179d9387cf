package meshrun

import (
	"context"
	"log/slog"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/roster"
)

// rules keeps the packet filter of the mesh's device, where there is one, as the roster wants it.
type rules struct {
	enabled  bool
	iface    string
	underlay bool // this host is ours alone: its other devices are filtered too
	open     []uint16
	port     uint16
	logger   *slog.Logger
	loaded   string
}

// load brings the filter up to date.
func (f *rules) load(ctx context.Context, m *members, self roster.Key) error {
	if !f.enabled || m.roster == nil {
		return nil
	}
	member, ok := m.byID[self]
	if !ok {
		return nil // no tunnel has a peer then
	}
	text, err := access.Rules(m.roster, member, f.iface)
	if err != nil {
		return err
	}
	if f.underlay {
		more, err := access.Underlay(member, f.port, f.iface, f.open...)
		if err != nil {
			return err
		}
		text += more
	}
	if text == f.loaded {
		return nil
	}
	if err := LoadRules(ctx, text); err != nil {
		return err
	}
	f.loaded = text
	return nil
}
