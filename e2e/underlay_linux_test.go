package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/netlab"
)

// underlay is a practice network in a namespace of its own, where what its hosts send each other can be lost. Its ports
// are those of loopback there.
type underlay struct {
	*network
	lab     *netlab.Namespace
	address string // of our consensus key

	validator, s1, s2 uint16 // UDP, of the tunnels; nobody is told the validator's
	relay1, relay2    uint16 // TCP, of the sentries' relays
}

// newUnderlay brings a network up in a namespace. Both sentries relay.
func newUnderlay(t *testing.T) *underlay {
	t.Helper()
	need(t)
	u := &underlay{lab: netlab.New(t).Namespace("practice"), network: folderFor(t, t.TempDir(), "net")}
	u.start = func(c *exec.Cmd) error { return u.lab.Do(c.Start) }
	u.client = &http.Client{Transport: &http.Transport{DialContext: u.lab.Dial, MaxIdleConnsPerHost: 2}}
	t.Cleanup(func() { u.end(t) })
	u.does(t, "init")
	u.edit(t, func(d *config.Deployment) {
		for i := range d.Sentries {
			d.Sentries[i].Relay = true
		}
	})
	u.does(t, "up", "--yes")
	u.address = u.network.address(t)
	i, err := u.state().LoadInventory()
	if err != nil {
		t.Fatal(err)
	}
	for host, ports := range map[string][2]*uint16{"s1": {&u.s1, &u.relay1}, "s2": {&u.s2, &u.relay2}} {
		h, _ := i.Host(host)
		for k, listen := range []string{h.Listen.Mesh, h.Listen.Relay} {
			a, err := netip.ParseAddrPort(listen)
			if err != nil {
				t.Fatalf("%s listens at %q: %v", host, listen, err)
			}
			*ports[k] = a.Port()
		}
	}
	return u
}

// calm waits until every path is direct, no relay is in use and the validator's node has both sentries, and learns where
// the validator's tunnel is then.
func (u *underlay) calm(t *testing.T) {
	t.Helper()
	u.tunnelsAreUp(t)
	eventually(t, "the validator's node to have two peers", func() error {
		all, err := u.status(t.Context())
		if peers := all["validator"].Node.Peers; err == nil && len(peers) != 2 {
			err = fmt.Errorf("they are %v", peers)
		}
		return err
	})
	eventually(t, "the validator to have one UDP port, its tunnel's", func() error {
		ports, err := udpPorts(u.the(t, meshes, "validator").PID)
		if err != nil || len(ports) != 1 {
			return fmt.Errorf("ports %v, %w", ports, err)
		}
		u.validator = ports[0]
		return nil
	})
}

// udpPorts are the IPv4 UDP ports of a process, by proc(5).
func udpPorts(pid int) (ports []uint16, err error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/udp", pid))
	if err != nil {
		return nil, err
	}
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, f := range files {
		link, _ := os.Readlink(folder + "/" + f.Name()) // it may have been closed
		open[link] = true
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || !open["socket:["+f[9]+"]"] {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			return nil, err
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}

// free is a UDP port of loopback that nobody has.
func (u *underlay) free(t *testing.T) uint16 {
	t.Helper()
	c, err := u.lab.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}

// udp matches what goes from one port to another.
func udp(from, to uint16) string { return fmt.Sprintf("udp sport %d udp dport %d", from, to) }

// bothWays matches what two ports send each other.
func bothWays(a, b uint16) []string { return []string{udp(a, b), udp(b, a)} }

// all matches what reaches or leaves a sentry's tunnel and relay.
func all(tunnel, relay uint16) []string {
	return []string{
		fmt.Sprintf("udp dport %d", tunnel), fmt.Sprintf("udp sport %d", tunnel),
		fmt.Sprintf("tcp dport %d", relay), fmt.Sprintf("tcp sport %d", relay),
	}
}

// steady is how many blocks in a row make "it signs".
const steady = 5

// signsAgain reads blocks made from now on until there were enough, and the last of them have our signature, and returns
// how many have none. More than most may not.
func (u *underlay) signsAgain(t *testing.T, enough, most int) (missed int) {
	t.Helper()
	from := u.height(t)
	var row []byte
	for h, signed := from+1, 0; h < from+int64(enough)+1 || signed < steady; h++ {
		var next comet.Block // it carries the commit of h
		eventually(t, fmt.Sprintf("block %d", h+1), func() (err error) { next, err = u.block(t.Context(), h+1); return err })
		if comet.Signed(next.LastCommit, u.address) {
			row, signed = append(row, '.'), signed+1
			continue
		}
		row, signed = append(row, 'x'), 0
		if missed++; missed > most {
			t.Fatalf("from block %d on: %s: %d have no signature of ours; want %d at most", from+1, row, missed, most)
		}
	}
	t.Logf("from block %d on: %s", from+1, row)
	return missed
}

// path is the validator's to a sentry.
func (u *underlay) path(t *testing.T, sentry string) (api.MeshPeer, error) {
	all, err := u.status(t.Context())
	if err != nil {
		return api.MeshPeer{}, err
	}
	if all["validator"].Mesh == nil {
		return api.MeshPeer{}, errors.New("the validator tells nothing of the mesh")
	}
	return peer(*all["validator"].Mesh, sentry), nil
}
