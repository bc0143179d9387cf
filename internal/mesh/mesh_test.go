package mesh

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/access"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
)

func TestComesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, newDeployment(t, 1, 3, 1))
		l.runAll()
		t.Log("up after", l.within(3*time.Second, "all up", l.allUp))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, h := range l.hosts {
			s := h.Status()
			if !s.Learned || s.Generation != 1 || len(s.Peers) != 3 {
				t.Errorf("%s: %+v", h.name, s)
			}
			for _, p := range s.Peers {
				if p.Path != api.PathDirect || p.Role == string(roster.RoleSentry) && (p.RTT < 20*time.Millisecond || p.RTT > 40*time.Millisecond || p.Packet != 1420 || p.Loss != 0) {
					t.Errorf("%s → %s: %+v", h.name, p.Name, p)
				}
			}
		}
		v, s0 := l.hosts["v0"], l.hosts["s0"]
		if m, ok := s0.Allowed(v.tunnel.address, access.P2P); !ok || m.Name != "v0" {
			t.Errorf("%v %v", m.Name, ok)
		}
		if m, ok := v.Allowed(s0.tunnel.address, access.P2P); ok || m.Name != "s0" {
			t.Errorf("%v %v", m.Name, ok)
		}
	})
}
