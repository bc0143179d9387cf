package vpncloud

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// memberEnv makes the test binary into a member of a mesh: a supervisor like the product's, in a process of its own, that
// does as it is told on its standard input.
const memberEnv = "VPNCLOUD_TEST_MEMBER"

func TestMain(m *testing.M) {
	if os.Getenv(memberEnv) != "" {
		if err := serveMember(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if port := os.Getenv(lowPortEnv); port != "" {
		os.Exit(startCat(port))
	}
	os.Exit(m.Run())
}

// order is a line that a member reads, answer the one that it writes.
type order struct {
	Do       string // open, peers, endpoint, reset, state, dial, close
	Config   Config
	Peers    []tunnel.Peer
	Key      tunnel.Key
	Endpoint netip.AddrPort
	Address  netip.Addr
	Packet   int
}

type answer struct {
	Error   string
	States  []tunnel.PeerState
	Reason  string
	Backend string
	Port    uint16
	MTU     int
	PID     int          // of the child; 0 for none
	Heard   []netip.Addr // who sent datagrams to us
	Said    string       // what was answered to a dial
}

// echoPort is where every member answers inside the mesh, over TCP and UDP.
const echoPort = 7007

type member struct {
	device *Device
	mu     sync.Mutex
	heard  []netip.Addr
}

func serveMember(in io.Reader, out io.Writer) error {
	var m member
	answers := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		a, err := m.do(o)
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) do(o order) (answer, error) {
	switch o.Do {
	case "open":
		return answer{}, m.open(o.Config)
	case "peers":
		return answer{}, m.device.SetPeers(o.Peers)
	case "endpoint":
		return answer{}, m.device.SetEndpoint(o.Key, o.Endpoint)
	case "reset":
		return answer{}, m.device.Reset(o.Key)
	case "segment":
		return answer{}, m.device.SetSegment(o.Address, o.Packet)
	case "dial":
		return m.dial(o.Address)
	case "close":
		return answer{}, m.device.Close()
	}
	return m.state()
}

func (m *member) open(c Config) (err error) {
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if m.device, err = Open(context.Background(), c); err != nil {
		return err
	}
	datagrams, err := m.device.ListenUDP(echoPort)
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := datagrams.ReadFrom(b)
			if err != nil {
				return
			}
			address := from.(*net.UDPAddr).AddrPort().Addr()
			m.mu.Lock()
			if !slices.Contains(m.heard, address) {
				m.heard = append(m.heard, address)
			}
			m.mu.Unlock()
			_, _ = datagrams.WriteTo(b[:n], from)
		}
	}()
	connections, err := m.device.ListenTCP(echoPort)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := connections.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = fmt.Fprintln(c, c.RemoteAddr()); _ = c.Close() }()
		}
	}()
	return nil
}

// dial connects to another member, who says who it takes us for.
func (m *member) dial(to netip.Addr) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := m.device.DialTCP(ctx, netip.AddrPortFrom(to, echoPort))
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return answer{}, err
	}
	said, err := bufio.NewReader(c).ReadString('\n')
	return answer{Said: strings.TrimSpace(said)}, err
}

func (m *member) state() (answer, error) {
	states, err := m.device.Peers()
	m.mu.Lock()
	defer m.mu.Unlock()
	return answer{
		States: states, Reason: m.device.Reason(), Backend: m.device.Backend(), Port: m.device.ListenPort(),
		MTU: m.device.MTU(), PID: childOf(os.Getpid()), Heard: slices.Clone(m.heard),
	}, err
}
