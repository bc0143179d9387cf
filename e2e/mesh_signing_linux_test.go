package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/netlab"
)

// trouble is something that befalls the underlay and leaves the validator and one sentry connected.
type trouble struct {
	what  string
	begin func(*testing.T, *underlay) faults
	// most is how many blocks may be without our signature, of those made while it lasts.
	most int
	// made says what the trouble makes of the mesh, so that it is known to have bitten; nil: losses only.
	made func(*testing.T, *underlay) error
}

type faults []*netlab.Fault

// How many seconds docs/mesh.md gives the mesh, so at most how many blocks, since each takes a second or more.
const (
	// found is how long a hidden member needs to see that a path is dead, 4 s, and to find another one, 4 s, twice: a
	// connection that was silent for so long sends again after as long once more.
	found = 2 * (4 + 4)
	// foundOneWay is the same where packets come in: 6 pings are missed then.
	foundOneWay = 2 * (6 + 4)
	// restarted is how long a mesh needs to come up, and nodes to dial again: 5 s, and up to 3 s more by chance.
	restarted = 10 + 8
	// spared is for what one of two sentries goes through, for votes go by the other one, and for what WireGuard does by
	// itself: the block that is in the making.
	spared = 1
	// lossy is for single votes that come too late, since packets are sent again.
	lossy = 6
)

var troubles = []trouble{
	{"silence to one of two sentries", func(_ *testing.T, u *underlay) faults {
		return u.lose(bothWays(u.validator, u.s1))
	}, spared, uses("s1", api.PathRelay)},
	{"a fifth of all packets is lost", func(_ *testing.T, u *underlay) faults {
		fifth := " numgen random mod 100 < 20"
		return u.lose([]string{
			udp(u.validator, u.s1) + fifth, udp(u.s1, u.validator) + fifth, udp(u.validator, u.s2) + fifth, udp(u.s2, u.validator) + fifth,
		})
	}, lossy, nil},
	{"the validator is behind a translator that forgets", func(t *testing.T, u *underlay) faults {
		return faults{u.lab.Translate(u.validator, u.free(t), u.s1, u.s2)}
	}, spared, nil},
	{"one sentry is away, the other one's port changes", func(t *testing.T, u *underlay) faults {
		return append(u.lose(all(u.s2, u.relay2)), u.lab.Translate(u.s1, u.free(t), u.validator))
	}, found, left},
	{"one sentry is away, silence to the other one", func(_ *testing.T, u *underlay) faults {
		return u.lose(all(u.s2, u.relay2), []string{udp(u.validator, u.s1)})
	}, foundOneWay, uses("s1", api.PathRelay)},
	{"all mesh processes are killed", func(t *testing.T, u *underlay) faults {
		for _, host := range []string{"validator", "s1", "s2"} {
			u.kill(t, host, meshes)
		}
		return nil
	}, restarted, nil},
	{"one sentry is away, silence from the other one", func(_ *testing.T, u *underlay) faults {
		return u.lose(all(u.s2, u.relay2), []string{udp(u.s1, u.validator)})
	}, found, uses("s1", api.PathRelay)},
	{"one sentry is away, large packets of the other one vanish, the validator's mesh begins anew", func(t *testing.T, u *underlay) faults {
		f := u.lose(all(u.s2, u.relay2), []string{
			fmt.Sprintf("udp dport %d meta length > 1300", u.s1), fmt.Sprintf("udp sport %d meta length > 1300", u.s1),
		})
		u.kill(t, "validator", meshes)
		return f
	}, restarted, small("s1")},
	{"the validator's UDP is blocked", func(_ *testing.T, u *underlay) faults {
		return u.lose(bothWays(u.validator, u.s1), bothWays(u.validator, u.s2))
	}, found, uses("s1", api.PathRelay)},
	{"the validator's UDP is blocked, then a relay in use goes away", func(t *testing.T, u *underlay) faults {
		f := u.lose(bothWays(u.validator, u.s1), bothWays(u.validator, u.s2))
		for _, s := range []string{"s1", "s2"} {
			eventually(t, "relays to be used", func() error { return uses(s, api.PathRelay)(t, u) })
		}
		return append(f, u.lose(all(u.s1, u.relay1))...)
	}, found, uses("s2", api.PathRelay)},
}

// lose drops what matches any of the lists.
func (u *underlay) lose(matches ...[]string) faults {
	return faults{u.lab.Drop(slices.Concat(matches...)...)}
}

// TestSigningThroughFaults has the packets between the hosts of a practice network lost in every way that leaves the validator
// and one sentry connected. It signs again each time, while the trouble lasts.
func TestSigningThroughFaults(t *testing.T) {
	u := newUnderlay(t)
	u.guard(t)
	blocks := 8
	if *soak {
		blocks = 120
	}
	for _, tr := range troubles {
		if !t.Run(tr.what, func(t *testing.T) { tr.befall(t, u, blocks) }) {
			return
		}
	}
	u.honest(t)
}

// TestSigningAfterPartition cuts the validator off from both sentries for ten minutes. It signs again as soon as nodes have
// dialled.
func TestSigningAfterPartition(t *testing.T) {
	if !*soak {
		t.Skip("it takes ten minutes; run it with -soak")
	}
	u := newUnderlay(t)
	u.guard(t)
	u.calm(t)
	f := u.lose(bothWays(u.validator, u.s1), bothWays(u.validator, u.s2), []string{fmt.Sprintf("tcp dport { %d, %d }", u.relay1, u.relay2)})
	u.silent(t)
	time.Sleep(10 * time.Minute)
	f[0].Restore()
	u.signsAgain(t, 8, restarted)
	u.calm(t)
	u.honest(t)
}

func (tr trouble) befall(t *testing.T, u *underlay, blocks int) {
	u.calm(t)
	begun := time.Now()
	f := tr.begin(t, u)
	missed := u.signsAgain(t, blocks, tr.most)
	if tr.made != nil {
		eventually(t, "the trouble to bite", func() error { return tr.made(t, u) })
	}
	t.Logf("%d blocks missed, %d may be; it lasted for %v", missed, tr.most, time.Since(begun).Round(time.Second))
	met := 0
	for _, f := range f {
		met += f.Met()
		f.Restore()
	}
	if f != nil && met == 0 {
		t.Error("the trouble met no packet")
	}
}

// left says whether the validator has left the port of s1 that the roster names: it follows packets of s1 that come from the
// new one, or has gone to the relay if it asked at the old one first.
func left(t *testing.T, u *underlay) error {
	p, err := u.path(t, "s1")
	if was := fmt.Sprintf("127.0.0.1:%d", u.s1); err == nil && (p.Path == api.PathDown || p.Endpoint == was) {
		err = fmt.Errorf("packets to s1 go to %q", p.Endpoint)
	}
	return err
}

// small says whether the validator knows that the path to a sentry takes small packets only.
func small(sentry string) func(*testing.T, *underlay) error {
	return func(t *testing.T, u *underlay) error {
		p, err := u.path(t, sentry)
		if err == nil && (p.Packet == 0 || p.Packet > 1240) {
			err = fmt.Errorf("packets to %s may have %d bytes", sentry, p.Packet)
		}
		return err
	}
}

// uses says whether the validator's path to a sentry is of that form.
func uses(sentry, path string) func(*testing.T, *underlay) error {
	return func(t *testing.T, u *underlay) error {
		p, err := u.path(t, sentry)
		if err == nil && p.Path != path {
			err = fmt.Errorf("%s is %s: %s", sentry, p.Path, p.Why)
		}
		return err
	}
}
