package p2p

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/cometbft/cometbft/config"
	cometed25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cometp2p "github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/p2p/pex"
)

const testNetwork = "test-1"

// realNode is CometBFT's own switch with its own address reactor.
type realNode struct {
	id   string
	addr string // id@host:port
	host string // host:port
	book pex.AddrBook
	sw   *cometp2p.Switch
}

type nodeSettings struct {
	inbound  int
	channels []byte
	seedMode bool
	period   time.Duration // of the address reactor; a third of it is the least time between asks
	knows    []string      // addresses in its book
	private  []string      // private_peer_ids
	noPEX    bool
}

func startNode(t *testing.T, set nodeSettings) *realNode {
	t.Helper()
	n := newNode(t, set)
	if err := n.sw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.sw.Stop(); err != nil {
			t.Error(err)
		}
		n.book.(interface{ Wait() }).Wait() // it is saved once more, into a folder that the test takes away
	})
	return n
}

func newNode(t *testing.T, set nodeSettings) *realNode {
	t.Helper()
	cfg := config.DefaultP2PConfig()
	cfg.AllowDuplicateIP = true
	cfg.AddrBookStrict = false
	cfg.MaxNumInboundPeers = set.inbound
	cfg.MaxNumOutboundPeers = 0
	cfg.PexReactor = !set.noPEX

	key := cometp2p.NodeKey{PrivKey: cometed25519.GenPrivKey()}
	host := freeAddr(t)
	n := &realNode{id: string(key.ID()), host: host, addr: fmt.Sprintf("%s@%s", key.ID(), host)}
	listen, err := cometp2p.NewNetAddressString(n.addr)
	if err != nil {
		t.Fatal(err)
	}
	channels := set.channels
	if channels == nil {
		channels = []byte{ChannelPEX, ChannelBlockSync}
	}
	info := cometp2p.DefaultNodeInfo{
		ProtocolVersion: cometp2p.NewProtocolVersion(8, 11, 7), DefaultNodeID: key.ID(), ListenAddr: host,
		Network: testNetwork, Version: "0.38.26", Channels: channels, Moniker: "real",
		Other: cometp2p.DefaultNodeInfoOther{TxIndex: "off", RPCAddress: "tcp://127.0.0.1:1"},
	}
	transport := cometp2p.NewMultiplexTransport(info, key, cometp2p.MConnConfig(cfg))
	n.sw = cometp2p.NewSwitch(cfg, transport)
	n.sw.SetNodeInfo(info)
	n.sw.SetNodeKey(&key)
	n.book = pex.NewAddrBook(filepath.Join(t.TempDir(), "addrbook.json"), false)
	n.sw.SetAddrBook(n.book)
	n.learn(t, set.knows...)
	if err := n.sw.AddPrivatePeerIDs(set.private); err != nil {
		t.Fatal(err)
	}
	if !set.noPEX {
		reactor := pex.NewReactor(n.book, &pex.ReactorConfig{SeedMode: set.seedMode})
		if set.period != 0 {
			reactor.SetEnsurePeersPeriod(set.period)
		}
		n.sw.AddReactor("PEX", reactor)
	}
	if err := transport.Listen(*listen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	return n
}

// learn puts addresses into the node's book. The book refuses those of private ids, as it should.
func (n *realNode) learn(t *testing.T, addrs ...string) {
	t.Helper()
	for _, s := range addrs {
		a, err := cometp2p.NewNetAddressString(s)
		if err != nil {
			t.Fatal(err)
		}
		_ = n.book.AddAddress(a, a)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// quick is a stranger for nodes whose reactor has the period quickPeriod.
var quick = Stranger{Spacing: 2 * quickPeriod}

const quickPeriod = 15 * time.Millisecond
