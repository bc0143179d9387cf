package wireguard

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/tunnel"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	stocknet "golang.zx2c4.com/wireguard/tun/netstack"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// wg runs a stock tool.
func wg(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// configured returns what a device says of its peers.
func configured(t *testing.T, e *end) []wgtypes.Peer {
	t.Helper()
	s, err := e.engine.state()
	if err != nil {
		t.Fatal(err)
	}
	return s.Peers
}

func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skip(err)
		}
	}
}

func TestTUNWithStockTools(t *testing.T) {
	open := newLAN(t).opener(TUN)
	needTools(t, "wg", "wg-quick")
	a, b := open(t, 1, nil), open(t, 2, nil)
	setPeers(t, a, b.peer(b.at()))

	wg(t, "", "wg", "set", b.config.Interface, "peer", a.key.String(), "allowed-ips", a.Address().String()+"/128", "endpoint", a.at().String())
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	if s := stateOf(t, b, a.key); s.Handshake.IsZero() {
		t.Errorf("state of the peer that the tool set: %+v", s)
	}
	shown := wg(t, "", "wg", "show", a.config.Interface, "dump")
	for _, want := range []string{a.key.String(), fmt.Sprint(a.ListenPort()), b.key.String(), b.at().String(), b.Address().String() + "/128"} {
		if !strings.Contains(shown, want) {
			t.Errorf("'wg show' does not show %s", want)
		}
	}

	// The file that a member's configuration is.
	// Without a port, and added: a new socket would be in the namespace that this process began in.
	m := Member{PrivateKey: b.private, Address: b.Address(), Peers: []Named{{"a", a.peer(a.at())}, {"mute", member().Peers[2].Peer}}}
	file := filepath.Join(t.TempDir(), "pw0.conf")
	if err := os.WriteFile(file, []byte(Configuration(m)), 0o600); err != nil {
		t.Fatal(err)
	}
	setPeers(t, b)
	wg(t, wg(t, "", "wg-quick", "strip", file), "wg", "addconf", b.config.Interface, "/dev/stdin")
	if err := a.Reset(b.key); err != nil {
		t.Fatal(err)
	}
	reach(t, ub, ua)
	if steps := changes(configured(t, b), []tunnel.Peer{m.Peers[0].Peer, m.Peers[1].Peer}); len(steps) != 0 {
		t.Errorf("the tools made something else of the file: %+v", steps)
	}
}

func TestTUNSocketIsPrivateAndGoes(t *testing.T) {
	open := newLAN(t).opener(TUN)
	var path string
	e := open(t, 1, func(c *Config) {
		path = filepath.Join(toolFolder, c.Interface+".sock")
		if err := os.MkdirAll(toolFolder, 0o755); err != nil {
			t.Fatal(err)
		}
		// What a process that was killed left.
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", info, err)
	}
	idle, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if left, err := filepath.Glob(filepath.Join(toolFolder, ".new-*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := e.place.do(e.Close); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("a connection to the socket outlived it")
	}
}

// bindIn opens its sockets in a place. A device opens them from a goroutine of its own when its TUN device says that it
// is up, so it does not help to bring the device up in that place.
type bindIn struct {
	conn.Bind
	place place
}

func (b bindIn) Open(port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	err = b.place.do(func() (err error) {
		fns, actual, err = b.Bind.Open(port)
		return err
	})
	return fns, actual, err
}

// TestPlainWireGuardGo has an end that is nothing but the library, told by text alone.
func TestPlainWireGuardGo(t *testing.T) {
	p := newLAN(t)
	a := p.opener(Netstack)(t, 1, nil)
	private, public := newKey(t)
	address, there := meshAddress(2), p.host(2)
	tun, inside, err := stocknet.CreateNetTUN([]netip.Addr{address}, nil, 1420)
	if err != nil {
		t.Fatal(err)
	}
	plain := device.NewDevice(tun, bindIn{conn.NewDefaultBind(), there}, device.NewLogger(device.LogLevelSilent, ""))
	t.Cleanup(plain.Close)
	if err := plain.IpcSet(fmt.Sprintf("private_key=%s\npublic_key=%s\nallowed_ip=%s/128\nendpoint=%s\n",
		hex.EncodeToString(private[:]), hex.EncodeToString(a.key[:]), a.Address(), a.at())); err != nil {
		t.Fatal(err)
	}
	if err := plain.Up(); err != nil {
		t.Fatal(err)
	}
	setPeers(t, a, tunnel.Peer{Key: public, Address: address})
	theirs, err := inside.ListenUDP(&net.UDPAddr{IP: address.AsSlice(), Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours := udpPort(t, a)
	reach(t, theirs, ours)
	reach(t, ours, theirs)
}

// Sockets of the mesh hear nothing that did not come through the tunnel, whatever address it comes from and is for.
func TestTUNSocketsHearTheTunnelOnly(t *testing.T) {
	l := newLAN(t)
	a, b := pair(t, l.opener(TUN))
	ua, ub := udpPort(t, a), udpPort(t, b)
	reach(t, ua, ub)
	// The router pretends to be a, on the link that b has with it.
	err := l.hub.do(func() error {
		if err := giveAddress("port2", a.Address()); err != nil {
			return err
		}
		return routeTo("port2", b.Address(), linkLocal(t, b))
	})
	if err != nil {
		t.Fatal(err)
	}
	var forged *net.UDPConn
	err = l.hub.do(func() (err error) {
		forged, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(ua.LocalAddr().(*net.UDPAddr).AddrPort()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer forged.Close()
	open := listenEverywhere(t, b) // proves that forged packets arrive
	eventually(t, "a forged packet arrives at the host", func() bool {
		forged.WriteTo([]byte("forged"), open.LocalAddr())
		forged.WriteTo([]byte("forged"), ub.LocalAddr())
		return heard(open)
	})
	drainHellos(t, ua, ub)
}
