package p2p

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	hidden = strings.Repeat("ab", idLength)
	known  = strings.Repeat("cd", idLength)
)

func dial(t *testing.T, addr string, s Stranger) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), addr, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestNodeTellsWhatItKnows(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10, period: quickPeriod, knows: []string{known + "@127.0.0.1:7001", hidden + "@10.9.0.1:26656"}})
	c := dial(t, n.addr, quick)
	want := NodeInfo{
		ID: n.id, Network: testNetwork, Version: "0.38.26", Moniker: "real", ListenAddr: n.host, RPCAddress: "tcp://127.0.0.1:1",
		Channels: []byte{ChannelPEX, ChannelBlockSync}, P2P: 8, Block: 11, App: 7,
	}
	if diff := cmp.Diff(want, c.RemoteInfo()); diff != "" {
		t.Errorf("remote info (-want +got):\n%s", diff)
	}
	for range 4 {
		got, err := c.AskAddresses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, Address.compare)
		want := []Address{{hidden, "10.9.0.1", 26656}, {known, "127.0.0.1", 7001}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
	}
	if n.sw.Peers().Size() != 1 {
		t.Errorf("the node has %d peers, want the stranger alone", n.sw.Peers().Size())
	}
	if n.book.Size() != 2 {
		t.Errorf("the stranger left something in the node's address book: %d addresses", n.book.Size())
	}
}

func TestPrivatePeerIsNotTold(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10, private: []string{hidden}, knows: []string{known + "@127.0.0.1:7001"}})
	n.learn(t, hidden+"@10.9.0.1:26656")
	got, err := dial(t, n.addr, Stranger{}).AskAddresses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Address{{known, "127.0.0.1", 7001}}, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// A book that knew the address before it became private still tells it: the reason why books are judged too.
func TestStaleBookTellsPrivatePeer(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10, knows: []string{hidden + "@10.9.0.1:26656"}})
	if err := n.sw.AddPrivatePeerIDs([]string{hidden}); err != nil {
		t.Fatal(err)
	}
	got, err := dial(t, n.addr, Stranger{}).AskAddresses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Address{{hidden, "10.9.0.1", 26656}}, got); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
}

// The rule that Spacing is there for: with CometBFT's own period, the third of three quick asks ends the connection.
func TestNodeBansWhoAsksTooSoon(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10, knows: []string{known + "@127.0.0.1:7001"}})
	c := dial(t, n.addr, Stranger{Spacing: time.Nanosecond})
	for range 2 {
		if _, err := c.AskAddresses(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AskAddresses(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("third ask: %v, want %v", err, ErrClosed)
	}
}

func TestKnock(t *testing.T) {
	open := startNode(t, nodeSettings{inbound: 10})
	full := startNode(t, nodeSettings{inbound: 0})
	quiet := startNode(t, nodeSettings{inbound: 10, noPEX: true, channels: []byte{ChannelBlockSync}})
	old := startNode(t, nodeSettings{inbound: 10, channels: []byte{0x77}})
	mute := mutePort(t)
	for _, tc := range []struct {
		name, addr string
		stranger   Stranger
		want       Outcome
	}{
		{"let in", open.addr, Stranger{}, Welcome},
		{"let in by one without addresses", quiet.addr, Stranger{}, Welcome},
		{"let in without a known id", open.host, Stranger{}, Welcome},
		{"inbound 0", full.addr, Stranger{}, Closed},
		{"wrong id", known + "@" + open.host, Stranger{}, WrongID},
		{"wrong network", open.addr, Stranger{Network: "other-1"}, Incompatible},
		{"wrong block protocol", open.addr, Stranger{Block: 10}, Incompatible},
		{"no common channel", old.addr, Stranger{}, Incompatible},
		{"nobody listens", freeAddr(t), Stranger{}, Refused},
		{"no such host", "no-such-host.invalid:1", Stranger{}, NoRoute},
		{"not a node", mute, Stranger{}, NoHandshake},
		{"no address", "nonsense", Stranger{}, Interrupted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hold := time.Hour // ended by the node
			if tc.want == Welcome {
				hold = 100 * time.Millisecond
			}
			p := Knock(t.Context(), tc.addr, tc.stranger, hold)
			if p.Outcome != tc.want {
				t.Errorf("outcome %q, want %q: %s", p.Outcome, tc.want, p.Detail)
			}
		})
	}
}

// Only silence at the address itself says something about who is there.
func TestDialError(t *testing.T) {
	timeout := &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	for want, errs := range map[Outcome][]error{
		Refused:     {syscall.ECONNREFUSED},
		Unreachable: {timeout, syscall.ETIMEDOUT},
		NoRoute: {
			syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.EACCES,
			&net.DNSError{IsNotFound: true}, &net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}},
		},
	} {
		for _, err := range errs {
			if got := OutcomeOf(dialError(t.Context(), err)); got != want {
				t.Errorf("%v is %q, want %q", err, got, want)
			}
		}
	}
}

func TestNodeWithoutPEXIsNotAsked(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10, noPEX: true, channels: []byte{ChannelBlockSync}})
	if _, err := dial(t, n.addr, Stranger{}).AskAddresses(t.Context()); !errors.Is(err, ErrNoPEX) {
		t.Errorf("got %v, want %v", err, ErrNoPEX)
	}
}

func TestStrangerIsWhoItsKeySays(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10})
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, n.addr, Stranger{Key: key, Moniker: "walker"})
	if _, err := c.AskAddresses(t.Context()); err != nil { // so that the node has us for sure
		t.Fatal(err)
	}
	peers := n.sw.Peers().List()
	if len(peers) != 1 || string(peers[0].ID()) != NodeID(key.Public().(ed25519.PublicKey)) || c.SelfID() != string(peers[0].ID()) {
		t.Errorf("the node's peers are %v, want %s", peers, c.SelfID())
	}
	if _, err := Dial(t.Context(), n.addr, Stranger{Key: key[:3]}); err == nil {
		t.Error("a key of three bytes was taken")
	}
}

func TestContextEndsEveryWait(t *testing.T) {
	n := startNode(t, nodeSettings{inbound: 10})
	reason := errors.New("enough")
	for name, wait := range map[string]func(context.Context, *Conn) error{
		"held": func(ctx context.Context, c *Conn) error { return c.Held(ctx, time.Hour) },
		"ask again": func(ctx context.Context, c *Conn) error {
			_, err := c.AskAddresses(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, n.addr, Stranger{Spacing: time.Hour})
			if _, err := c.AskAddresses(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(10*time.Millisecond, func() { cancel(reason) })
			if err := wait(ctx, c); !errors.Is(err, reason) {
				t.Errorf("got %v, want %v", err, reason)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(reason) })
	if _, err := Dial(ctx, silentPort(t), Stranger{}); !errors.Is(err, reason) {
		t.Errorf("dial: %v, want %v", err, reason)
	}
}
