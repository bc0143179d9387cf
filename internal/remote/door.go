package remote

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/roster"
)

// spec is what a host's machine should be.
func (p *Provider) spec(h deployment.Host, program string) machine.Spec {
	s := machine.Spec{Program: program, Deployment: p.Deployment, Host: h.Name, Role: string(h.Role)}
	if h.Role != roster.RoleSentry {
		return s
	}
	s.Tunnel = portOf(h.Listen.Mesh)
	for _, address := range []string{h.Listen.P2P, h.Listen.Relay} {
		if port := portOf(address); port != 0 {
			s.Open = append(s.Open, port)
		}
	}
	return s
}

// portOf is the port of host:port; 0 if there is none.
func portOf(address string) uint16 {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}

// confirm proves that the way to a machine still works, by a new connection, and has it keep what it changed on trial. If
// that fails, the machine takes it back.
func (p *Provider) confirm(ctx context.Context, h deployment.Host, program string) error {
	ctx, cancel := context.WithTimeout(ctx, machine.TrialLimit)
	defer cancel()
	fresh := &Provider{Exe: p.Exe, Dialer: p.Dialer, Deployment: p.Deployment}
	defer fresh.Close()
	if _, err := call[struct{}](ctx, fresh, h, program, "confirm", struct{}{}); err != nil {
		return fmt.Errorf("come in by a new connection: %w; what was changed of SSH and the packet filter takes itself back within %v", err, machine.TrialLimit)
	}
	return nil
}
