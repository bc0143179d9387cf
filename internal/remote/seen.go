package remote

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/ssh"
)

// SeenFrom is the address that a host sees us come from, whatever translates ours on the way.
func (p *Provider) SeenFrom(ctx context.Context, h deployment.Host) (netip.Addr, error) {
	c, err := p.dial(ctx, h)
	if err != nil {
		return netip.Addr{}, err
	}
	var out bytes.Buffer
	if err := c.Run(ctx, ssh.Command{Args: []string{"sh", "-c", `echo "${SSH_CONNECTION%% *}"`}, Stdout: &out}); err != nil {
		return netip.Addr{}, err
	}
	at, err := netip.ParseAddr(strings.TrimSpace(out.String()))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask %q from where it sees us come: %w", h.Name, err)
	}
	return at.Unmap(), nil
}
