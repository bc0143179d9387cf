package remote

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/roster"
)

// spec is what a host's machine should be.
func (p *Provider) spec(h deployment.Host, program string) machine.Spec {
	s := machine.Spec{Program: program, Deployment: p.Deployment, Host: h.Name, Role: string(h.Role), Volume: h.VolumeDevice, VolumeGB: h.VolumeGB}
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
	ctx, cancel := context.WithTimeout(ctx, machine.TrialLimit/2)
	defer cancel()
	t := time.NewTicker(confirmEvery)
	defer t.Stop()
	for {
		fresh := &Provider{Exe: p.Exe, Dialer: p.Dialer, Bought: p.Bought, Fresh: p.Fresh, Deployment: p.Deployment}
		_, err := call[struct{}](ctx, fresh, h, program, "confirm", struct{}{})
		fresh.Close()
		if err == nil {
			return nil
		}
		select {
		case <-t.C: // sshd listens to nobody for a moment while it reads its configuration
		case <-ctx.Done():
			return fmt.Errorf("come in by a new connection: %w; what was changed of SSH and the packet filter takes itself back within %v", err, machine.TrialLimit)
		}
	}
}

// confirmEvery is how often a new connection is tried.
const confirmEvery = 500 * time.Millisecond
