package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/netlab"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
)

// knocking is twenty a second.
var knocking = netlab.PingOptions{Every: 50 * time.Millisecond}

// window is how long is watched before and after something is done, for what comes late.
const window = 2 * time.Second

// during knocks at another host's service through the mesh, and at the host itself on the bare link, while f runs.
func (h *meshHost) during(to *meshHost, f func()) (mesh, bare *netlab.Pings) {
	ctx, cancel := context.WithCancel(h.mesh.t.Context())
	meshDone, bareDone := make(chan *netlab.Pings), make(chan *netlab.Pings)
	bareTo := to.closed()
	go func() { meshDone <- h.Knock(ctx, to.service(), knocking) }()
	go func() { bareDone <- h.Knock(ctx, bareTo, knocking) }()
	time.Sleep(window)
	f()
	time.Sleep(window)
	cancel()
	return <-meshDone, <-bareDone
}

// TestMeshMover gives the validator another address. It sends all the time, so that nobody has to look for it.
func TestMeshMover(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1 := m.host("v"), m.host("s1")
	mesh, bare := v.during(s1, func() {
		v.Move()
		m.await("the validator to reach a sentry", func() error { return v.reaches(s1) })
		m.await("everybody to reach everybody", m.whole)
	})
	t.Logf("%d of %d knocks were lost, %d on the bare link; the longest silence was %v", mesh.Lost(), mesh.Sent(), bare.Lost(), mesh.Silence())
	if bare.Lost() == bare.Sent() || mesh.Lost() == mesh.Sent() {
		t.Error("nothing got through")
	}
	figure("mesh_ip_change_lost", float64(mesh.Lost()), "pings", "bare-link", float64(bare.Lost()))
}

// TestMeshListenerMoves gives a sentry another address than the roster says.
func TestMeshListenerMoves(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1, s2 := m.host("v"), m.host("s1"), m.host("s2")
	mesh, _ := v.during(s1, func() {
		s1.Move()
		for _, h := range []*meshHost{v, s2} {
			m.await(h.name+" to reach the moved sentry", func() error { return h.reaches(s1) })
			m.await(h.name+" to do so directly", func() error { return h.uses(api.PathDirect, s1) })
		}
	})
	t.Logf("the longest silence was %v", mesh.Silence())
	figure("mesh_listener_move_s", mesh.Silence().Seconds(), "s", "goal", 5)
}

// TestMeshSilentPath has the path between the validator and one sentry go dead, both ways and one way.
func TestMeshSilentPath(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1 := m.host("v"), m.host("s1")
	for _, tt := range []struct {
		name  string
		fault func() *netlab.Fault
	}{
		{"both ways", func() *netlab.Fault { return m.Silence(v.Host, s1.Host) }},
		{"to the sentry", func() *netlab.Fault { return m.SilenceOneWay(v.Host, s1.Host) }},
		{"back", func() *netlab.Fault { return m.SilenceOneWay(s1.Host, v.Host) }},
	} {
		name := tt.name
		m.await("the path to be direct", func() error { return v.uses(api.PathDirect, s1) })
		var back time.Duration
		mesh, _ := v.during(s1, func() {
			f := tt.fault()
			m.await(name+": a relay to be used", func() error { return v.uses(api.PathRelay, s1) })
			m.await(name+": the sentry to be reached through it", func() error { return v.reaches(s1) })
			f.Restore()
			back = m.await(name+": the path to be direct again", func() error { return v.uses(api.PathDirect, s1) })
			m.await(name+": the sentry to be reached", func() error { return v.reaches(s1) })
		})
		t.Logf("%s: the longest silence was %v, direct again after %v", name, mesh.Silence(), back)
		if name == "both ways" {
			figure("mesh_relay_failover_s", mesh.Silence().Seconds(), "s", "goal", 8)
			figure("mesh_relay_return_s", back.Seconds(), "s", "goal", 60)
		}
	}
}

// TestMeshPartition cuts the validator off until everybody has given it up, and longer when soaking.
func TestMeshPartition(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1, s2 := m.host("v"), m.host("s1"), m.host("s2")
	f := m.Isolate(v.Host)
	for _, s := range []*meshHost{s1, s2} {
		m.await("the validator to give up on "+s.name, func() error { return v.uses(api.PathDown, s) })
	}
	switch {
	case *soak:
		time.Sleep(10 * time.Minute)
	case *figures:
		time.Sleep(time.Minute)
	}
	f.Restore()
	took := m.await("both sentries to be reached", func() error { return errors.Join(v.reaches(s1), v.reaches(s2)) })
	m.await("everybody to reach everybody", m.whole)
	t.Logf("healed after %v", took)
	figure("mesh_partition_heal_s", took.Seconds(), "s", "goal", 10)
}

// TestMeshBlackHole has one sentry on a link that loses all large packets and tells nobody.
func TestMeshBlackHole(t *testing.T) {
	m := quietMeshLab(t, 2)
	v, s1, s2 := m.host("v"), m.host("s1"), m.host("s2")
	m.Shrink(s1.Host, 1300)
	for _, h := range m.hosts {
		h.start()
	}
	m.await("everybody to reach everybody", m.whole)
	for _, h := range []*meshHost{v, s2} {
		took := m.await(h.name+" to send much", func() error { return h.transfer(s1, 1<<20) })
		t.Logf("%s needed %v", h.name, took)
		if h == v {
			figure("mesh_black_hole_s", took.Seconds(), "s", "goal", 60)
		}
	}
}

// TestMeshLossyPath loses two of five packets one way.
func TestMeshLossyPath(t *testing.T) {
	m := newMeshLab(t, 2)
	v, s1 := m.host("v"), m.host("s1")
	m.Lose(s1.Host, v.Host, 0.4)
	m.await("much to come through", func() error { return v.transfer(s1, 64<<10) })
}

// transfer sends bytes to another host's service, and says why they did not all arrive.
func (h *meshHost) transfer(to *meshHost, size int64) error {
	l, err := to.Listen("tcp", to.service().String())
	if err != nil {
		return err
	}
	defer l.Close()
	arrived := make(chan int64, 1)
	limit := time.Now().Add(5 * time.Second)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			arrived <- 0
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(limit)
		n, _ := io.Copy(io.Discard, conn)
		arrived <- n
	}()
	err = h.send(l.Addr(), size, limit)
	_ = l.Close()
	if n := <-arrived; n != size {
		return errors.Join(err, fmt.Errorf("%d of %d bytes went from %s to %s", n, size, h.name, to.name))
	}
	return nil
}

func (h *meshHost) send(to net.Addr, size int64, limit time.Time) error {
	ctx, cancel := context.WithDeadline(h.mesh.t.Context(), limit)
	defer cancel()
	conn, err := h.Dial(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(limit)
	_, err = conn.Write(make([]byte, size))
	return err
}

// TestMeshRestartsTogether kills and starts all processes at once.
func TestMeshRestartsTogether(t *testing.T) {
	sentries := 9
	if *soak || *figures {
		sentries = 49
	}
	m := newMeshLab(t, sentries)
	for _, h := range m.hosts {
		h.kill()
	}
	begun := time.Now()
	for _, h := range m.hosts {
		h.start()
	}
	m.await("everybody to reach everybody", m.whole)
	took := time.Since(begun)
	most := 0.0
	for _, h := range m.hosts {
		id, err := process.Of(h.run.Process.Pid)
		m.must(err)
		u, err := id.Usage()
		m.must(err)
		most = max(most, float64(u.RSS)/1e6)
	}
	t.Logf("%d hosts needed %v; none uses more than %.0f MB", len(m.hosts), took, most)
	figure("mesh_restart_all_s", took.Seconds(), "s", "goal", 10)
	figure("mesh_rss_idle_50_mb", most, "MB", "goal", 40)
}

// TestMeshRevocation tells one sentry that another one is removed.
func TestMeshRevocation(t *testing.T) {
	m := newMeshLab(t, 3)
	v, s1, s2, s3 := m.host("v"), m.host("s1"), m.host("s2"), m.host("s3")
	m.await("the sentry to be in the mesh", func() error { return errors.Join(s3.reaches(s1), s3.reaches(s2)) })
	m.sign(func(r *roster.Roster) { r.Remove(s3.name) })
	begun := time.Now()
	s1.tell()
	m.await("everybody to drop the sentry", func() error {
		var still []error
		for _, h := range []*meshHost{v, s1, s2} {
			s, err := h.status()
			if err != nil {
				return err
			}
			if peer(s, s3.name).Name != "" {
				still = append(still, fmt.Errorf("%s keeps it", h.name))
			}
		}
		return errors.Join(still...)
	})
	took := time.Since(begun)
	for _, h := range []*meshHost{s1, s2} {
		m.must(s3.cut(h))
		m.must(h.cut(s3))
	}
	m.must(v.cut(s3))
	m.must(errors.Join(v.reaches(s1), v.reaches(s2), s1.reaches(s2)))
	t.Logf("everybody has dropped it after %v", took)
	figure("mesh_revoke_s", took.Seconds(), "s", "goal", 5)

	s3.kill()
	s3.start() // what it keeps does not let it in again
	m.await("it to answer", func() error { _, err := s3.status(); return err })
	m.must(s3.cut(s1))
}
