package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/wireguard"
)

// The profile for small hosts, in the words of Go's runtime: collect garbage only when memory runs short.
var smallProfile = []string{"GOMEMLIMIT=104MiB", "GOGC=off"}

// end is what a child is told on stdin.
type end struct {
	Private, Peer tunnel.Key
	Address, To   netip.Addr
	Endpoint      netip.AddrPort
}

// ours is our device in a process of its own; env is for its runtime.
func ours(r *rig, lab *netlab.Lab, name string, env ...string) *contest {
	t := newContest(r, lab, name)
	var private, public [2]tunnel.Key
	for i := range t.ends {
		var err error
		private[i], err = tunnel.NewPrivateKey()
		r.must(err)
		public[i], err = private[i].Public()
		r.must(err)
	}
	program, err := os.Executable()
	r.must(err)
	for i, e := range t.ends {
		const port = 51820
		b, err := json.Marshal(end{private[i], public[1-i], inside6[i], inside6[1-i], netip.AddrPortFrom(t.ends[1-i].outside, port)})
		r.must(err)
		cmd := e.command(program, carryWord)
		cmd.Stdin, cmd.Env = bytes.NewReader(b), append(os.Environ(), env...)
		e.start(r, cmd)
		e.inside = inside6[i]
	}
	return t
}

// carry opens a tunnel to one peer as the mesh process does.
func carry(ctx context.Context, in io.Reader) error {
	var c end
	if err := json.NewDecoder(in).Decode(&c); err != nil {
		return err
	}
	d, err := wireguard.Open(ctx, wireguard.Config{
		Backend: wireguard.TUN, Interface: "mesh0", PrivateKey: c.Private,
		Listen:  netip.AddrPortFrom(netip.IPv4Unspecified(), c.Endpoint.Port()),
		Address: c.Address, Network: netip.PrefixFrom(c.Address, 48),
	})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.SetPeers([]tunnel.Peer{{Key: c.Peer, Address: c.To, Endpoint: c.Endpoint, Keepalive: 25 * time.Second}}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
