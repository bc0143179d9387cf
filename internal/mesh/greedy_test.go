package mesh

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// greedy is a member that says in every pong, and in every exchange, that it has no rosters, that asks for them as often as
// it may, and that says of all it gets that it was news. It counts what it is sent.
type greedy struct {
	*fakeTunnel
	exchanges, bytes atomic.Uint64
}

// run lives until ctx is done. Its tunnel lets in the peers that it is given, and it asks the first of them.
func (g *greedy) run(ctx context.Context, t *testing.T, peers []roster.Member, id roster.Hash) {
	var set []tunnel.Peer
	for _, m := range peers {
		set = append(set, tunnel.Peer{Key: tunnel.Key(m.Mesh.Key), Address: roster.MeshAddress(id, m.Identity), Endpoint: underlayOf(m.Name)})
	}
	if err := g.SetPeers(set); err != nil {
		t.Error(err)
	}
	conn, _ := g.ListenUDP(0)
	l, _ := g.ListenTCP(0)
	context.AfterFunc(ctx, func() { conn.Close(); l.Close() })
	go func() {
		buf := make([]byte, maxProbe)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if m, err := decodeMessage(buf[:n]); err == nil && m.Kind == ping {
				_, _ = conn.WriteTo(message{Version: messageVersion, Kind: pong, Nonce: m.Nonce, Generation: 1}.encode(), from)
			}
		}
	}()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go g.take(conn, true)
		}
	}()
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		conn, err := g.DialTCP(limited, netip.AddrPortFrom(roster.MeshAddress(id, peers[0].Identity), 51821))
		cancel()
		if err == nil {
			g.take(conn, false)
		}
		sleep(ctx, time.Second/answersPerSecond)
	}
}

// take takes all that the other side has.
func (g *greedy) take(conn net.Conn, asked bool) {
	defer conn.Close()
	g.exchanges.Add(1)
	if asked {
		_, _ = readHello(conn)
	}
	_ = writeHello(conn, hello{Version: messageVersion, Generation: 1})
	if !asked {
		_, _ = readHello(conn)
	} else {
		_ = writeEnvelopes(conn, nil)
	}
	envs, err := readEnvelopes(conn)
	for _, e := range envs {
		g.bytes.Add(uint64(len(e.Payload)))
	}
	if err == nil && asked {
		_ = writeTaken(conn, true)
	}
}

// A member that says each time that it has nothing, or that really forgets what it is given, is given our rosters some
// times an hour and not at each pong.
func TestWhoForgetsIsNotGivenAllEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeployment(t, 1, 2, 0)
		for range 20 {
			d.next(t, func(*roster.Roster) {})
		}
		whole := uint64(0)
		for _, e := range d.envs {
			whole += uint64(len(e.Payload))
		}
		l := newLab(t, d)
		s1, _ := d.head.Member("s1")
		v0, _ := d.head.Member("v0")
		g := &greedy{fakeTunnel: l.hosts["s0"].tunnel}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l.hosts["v0"].run()
		l.hosts["s1"].run()
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.run(ctx, t, []roster.Member{s1, v0}, d.id)
		}()
		time.Sleep(time.Hour)
		cancel()
		<-done
		times := float64(g.bytes.Load()) / float64(whole)
		t.Logf("%d exchanges, %d bytes: %.1f times all there is", g.exchanges.Load(), g.bytes.Load(), times)
		if times < 2 || times > 40 { // of two hosts, both ways
			t.Errorf("it was given %.1f times all that there is", times)
		}
		l.stopAll()
	})
}
