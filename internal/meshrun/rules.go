package meshrun

import (
	"context"
	"errors"
	"fmt"
	"os"

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
	loader   func(ctx context.Context, text string) error
	// lister returns what the kernel has of a text; nil: it is not looked at.
	lister         func(ctx context.Context, text string) (string, error)
	loaded, listed string
}

// errFilter is in the error when the packet filter could not be loaded.
var errFilter = errors.New("the mesh's packet filter is not as the roster wants it")

// load brings the filter up to date. Before there is a roster nothing passes the device: the tunnel gets its peers before
// the filter that says what they may, and if that one cannot be loaded, the one before stays.
func (f *rules) load(ctx context.Context, m *members, self roster.Key) error {
	if !f.enabled {
		return nil
	}
	text, err := f.text(m, self)
	if err != nil {
		return err
	}
	if text == f.loaded {
		return nil
	}
	if err := f.loader(ctx, text); err != nil {
		return fmt.Errorf("%w: %w", errFilter, err)
	}
	f.loaded = text
	if f.lister != nil {
		f.listed, err = f.lister(ctx, text)
	}
	return err
}

// text is what the filter is to be.
func (f *rules) text(m *members, self roster.Key) (string, error) {
	member, ok := m.byID[self]
	if !ok {
		return access.Shut(f.iface)
	}
	text, err := access.Rules(m.roster, member, f.iface, os.Getuid())
	if err != nil || !f.underlay {
		return text, err
	}
	more, err := access.Underlay(member.Role, f.port, f.iface, f.open...)
	return text + more, err
}
