//go:build linux

package vmguest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
	"github.com/pressenter/pressenter/internal/wireguard"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestKernelClock shows what a clock that jumps back does to WireGuard, and that its cure is one: the other side forgets
// the peer and takes it in anew. A handshake's first message holds the time, and the kernel takes none that is not newer
// than the newest it saw from that key (WireGuard paper, 5.1); it does so without an answer.
func TestKernelClock(t *testing.T) {
	inside(t)
	checkBootClock(t)
	kernel := followKernel(t)
	control, err := wgctrl.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	near, far := newEnd(t, control, "near"), newEnd(t, control, "far")
	far.take(near)

	near.call(far)
	kernel.await("far: Receiving keepalive packet from peer")

	stepClock(t, 10)
	near.call(far)
	kernel.await("far: Receiving handshake initiation from peer")
	kernel.await("far: Receiving keepalive packet from peer")

	refused := func(years int) {
		t.Helper()
		stepClock(t, years)
		near.call(far)
		kernel.await("far: Invalid handshake initiation from") // which it also says of one less than 20 ms after another
		kernel.await("far: Invalid handshake initiation from") // and this one is 5 s later
	}
	refused(-10)
	if at := far.handshake(near); at.IsZero() {
		t.Error("the other side forgot its last handshake before it was told to")
	}
	far.forget(near)
	far.take(near)
	if at := far.handshake(near); !at.IsZero() {
		t.Errorf("a peer taken in anew has shaken hands at %v", at)
	}
	// Nothing is done on the near side: it tries again by itself.
	kernel.await("far: Receiving handshake initiation from peer")
	kernel.await("far: Receiving keepalive packet from peer")
	if at := far.handshake(near); at.IsZero() {
		t.Error("no handshake after the cure")
	}

	device := far.open()
	nearKey := tunnel.Key(near.key.PublicKey())
	if err := device.SetPeers([]tunnel.Peer{{Key: nearKey, Address: netip.MustParseAddr("fd00::2")}}); err != nil {
		t.Fatal(err)
	}
	refused(-5)
	if err := device.Reset(nearKey); err != nil {
		t.Fatal(err)
	}
	kernel.await("near: Receiving handshake initiation from peer") // the far side calls, as it knows where the near one is
	kernel.await("near: Receiving keepalive packet from peer")
	near.call(far)
	kernel.await("far: Receiving handshake initiation from peer")
	kernel.await("far: Receiving keepalive packet from peer")
}

// checkBootClock checks that the machine booted with the clock that was asked for.
func checkBootClock(t *testing.T) {
	t.Helper()
	asked, err := strconv.ParseInt(os.Getenv(clockEnv), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if late := time.Since(time.Unix(asked, 0)); late < -time.Second || late > time.Hour {
		t.Fatalf("the clock is %v off the one that was asked for", late)
	}
}

// stepClock moves the machine's clock.
func stepClock(t *testing.T, years int) {
	t.Helper()
	to := unix.NsecToTimeval(time.Now().AddDate(years, 0, 0).UnixNano())
	if err := unix.Settimeofday(&to); err != nil {
		t.Fatal(err)
	}
	t.Logf("the clock is %v now", time.Now().UTC())
}

// end is one WireGuard device of this machine. All are on its loopback.
type end struct {
	t       *testing.T
	control *wgctrl.Client
	name    string
	key     wgtypes.Key
	port    int
}

func newEnd(t *testing.T, control *wgctrl.Client, name string) *end {
	t.Helper()
	link := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(link); err != nil {
			t.Error(err)
		}
	})
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	e := &end{t: t, control: control, name: name, key: key}
	e.configure(wgtypes.Config{PrivateKey: &key})
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	device, err := control.Device(name)
	if err != nil {
		t.Fatal(err)
	}
	e.port = device.ListenPort
	return e
}

// open takes the device over as a host's own tunnel.
func (e *end) open() *wireguard.Device {
	e.t.Helper()
	device, err := wireguard.Open(e.t.Context(), wireguard.Config{
		Backend: wireguard.Kernel, Interface: e.name, PrivateKey: tunnel.Key(e.key),
		Address: netip.MustParseAddr("fd00::1"), Network: netip.MustParsePrefix("fd00::/64"),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if err := device.Close(); err != nil {
			e.t.Error(err)
		}
	})
	return device
}

// take makes other a peer that may call.
func (e *end) take(other *end) {
	e.t.Helper()
	e.configure(wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: other.key.PublicKey()}}})
}

// call makes other the only peer, with no memory of it, as after a reboot, and shakes hands.
func (e *end) call(other *end) {
	e.t.Helper()
	e.forget(other)
	keepalive := 25 * time.Second
	e.configure(wgtypes.Config{Peers: []wgtypes.PeerConfig{{
		PublicKey: other.key.PublicKey(), PersistentKeepaliveInterval: &keepalive,
		Endpoint: &net.UDPAddr{IP: net.IPv6loopback, Port: other.port},
	}}})
}

func (e *end) forget(other *end) {
	e.t.Helper()
	e.configure(wgtypes.Config{Peers: []wgtypes.PeerConfig{{PublicKey: other.key.PublicKey(), Remove: true}}})
}

func (e *end) configure(c wgtypes.Config) {
	e.t.Helper()
	if err := e.control.ConfigureDevice(e.name, c); err != nil {
		e.t.Fatal(err)
	}
}

// handshake is when other and e last shook hands, zero for never.
func (e *end) handshake(other *end) time.Time {
	e.t.Helper()
	device, err := e.control.Device(e.name)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, p := range device.Peers {
		if p.PublicKey == other.key.PublicKey() {
			return p.LastHandshakeTime
		}
	}
	e.t.Fatalf("%s is no peer of %s", other.name, e.name)
	return time.Time{}
}

// kernelLog is what the kernel says from now on.
type kernelLog struct {
	t    *testing.T
	file *os.File
}

// followKernel has the kernel tell all that WireGuard does: it is the only way to see a handshake that is refused.
func followKernel(t *testing.T) *kernelLog {
	t.Helper()
	for file, text := range map[string]string{
		"/proc/dynamic_debug/control":     "module wireguard +p",
		"/proc/sys/net/core/message_cost": "0", // every message, however many
	} {
		if err := os.WriteFile(file, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open("/dev/kmsg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Seek(0, 2); err != nil {
		t.Fatal(err)
	}
	return &kernelLog{t: t, file: f}
}

// await reads until the kernel says text. The test's own time limit ends it where that never comes.
func (k *kernelLog) await(text string) {
	k.t.Helper()
	for b := make([]byte, 8192); ; {
		n, err := k.file.Read(b) // one message each
		if errors.Is(err, unix.EPIPE) {
			continue // some were lost
		}
		if err != nil {
			k.t.Fatal(err)
		}
		_, message, _ := strings.Cut(strings.TrimSpace(string(b[:n])), ";")
		k.t.Log("kernel:", message)
		if strings.Contains(message, text) {
			return
		}
	}
}
