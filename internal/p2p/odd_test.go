package p2p

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	cometed25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/p2p/conn"
	tmp2p "github.com/cometbft/cometbft/proto/tendermint/p2p"
	"github.com/cosmos/gogoproto/proto"
)

// fakeNode does a real handshake, and then what no CometBFT node does.
func fakeNode(t *testing.T, info func(*NodeInfo), do func(io.ReadWriter)) (addr string) {
	t.Helper()
	return serveOnce(t, func(c net.Conn) {
		key := cometed25519.GenPrivKey()
		sc, err := conn.MakeSecretConnection(c, key)
		if err != nil {
			return
		}
		n := NodeInfo{
			ID: NodeID(key.PubKey().Bytes()), Network: testNetwork, Version: "0", Moniker: "odd", Block: 11, P2P: 8,
			ListenAddr: nowhere, Channels: []byte{ChannelPEX},
		}
		if info != nil {
			info(&n)
		}
		b, err := encodeNodeInfo(n)
		if err != nil {
			t.Error(err)
		}
		if _, err := sc.Write(b); err == nil {
			do(sc)
		}
		_, _ = io.Copy(io.Discard, c) // hold the line until the stranger hangs up
	})
}

func serveOnce(t *testing.T, do func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		do(c)
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// mutePort takes connections and hangs up.
func mutePort(t *testing.T) string { return serveOnce(t, func(net.Conn) {}) }

// silentPort takes connections and says nothing.
func silentPort(t *testing.T) string {
	return serveOnce(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := delimited(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func piece(t *testing.T, channel int32, eof bool, data []byte) []byte {
	t.Helper()
	return marshal(t, &tmp2p.Packet{Sum: &tmp2p.Packet_PacketMsg{PacketMsg: &tmp2p.PacketMsg{ChannelID: channel, EOF: eof, Data: data}}})
}

func told(t *testing.T, n int) []byte {
	t.Helper()
	b, err := proto.Marshal(&tmp2p.Message{Sum: &tmp2p.Message_PexAddrs{PexAddrs: &tmp2p.PexAddrs{Addrs: make([]tmp2p.NetAddress, n)}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOddNodesAreCut(t *testing.T) {
	for _, tc := range []struct {
		name string
		send []byte
		ask  bool
		want error
	}{
		{"packet too long", []byte{0x80, 0x80, 0x80, 0x08}, false, ErrTooMuch},
		{"length without end", bytes.Repeat([]byte{0xff}, 11), false, ErrOdd},
		{"no packet", []byte{2, 0xff, 0xff}, false, ErrOdd},
		{"empty packet", []byte{0}, false, ErrOdd},
		{"negative channel", piece(t, -1, true, nil), false, ErrOdd},
		{"no message", piece(t, 0, true, []byte{0xff}), false, ErrOdd},
		{"empty message", piece(t, 0, true, nil), false, ErrOdd},
		{"addresses that nobody asked for", piece(t, 0, true, told(t, 1)), false, ErrOdd},
		{"more addresses than a node may tell", piece(t, 0, true, told(t, maxAddresses+1)), true, ErrTooMuch},
		{"message without end", bytes.Repeat(piece(t, 0, false, make([]byte, 32<<10)), 3), true, ErrTooMuch},
		{"more than the connection may carry", bytes.Repeat(piece(t, 0x40, true, make([]byte, 1<<10)), 100), false, ErrTooMuch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := fakeNode(t, nil, func(rw io.ReadWriter) { _, _ = rw.Write(tc.send) })
			c, err := Dial(t.Context(), addr, Stranger{MaxBytes: 100 << 10})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if tc.ask {
				_, err = c.AskAddresses(t.Context())
			} else {
				err = c.Held(t.Context(), time.Minute)
			}
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err := c.Held(t.Context(), time.Minute); err == nil {
				t.Error("the connection still stands")
			}
		})
	}
}

func TestOddIntroductions(t *testing.T) {
	for _, tc := range []struct {
		name string
		info func(*NodeInfo)
		want error
	}{
		{"another's id", func(n *NodeInfo) { n.ID = hidden }, ErrWrongID},
		{"too long", func(n *NodeInfo) { n.Moniker = strings.Repeat("a", maxNodeInfo) }, ErrTooMuch},
		{"no channel in common", func(n *NodeInfo) { n.Channels = []byte{0x77} }, ErrIncompatible},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Dial(t.Context(), fakeNode(t, tc.info, func(io.ReadWriter) {}), Stranger{})
			if err == nil {
				c.Close()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	c, err := Dial(t.Context(), fakeNode(t, func(n *NodeInfo) { n.Moniker = "\x1b[31mred\u202e" }, func(io.ReadWriter) {}), Stranger{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.RemoteInfo().Moniker; got != "[31mred" {
		t.Errorf("moniker %q kept what a terminal obeys", got)
	}
}

func TestPingIsAnswered(t *testing.T) {
	answer := make(chan []byte, 1)
	addr := fakeNode(t, nil, func(rw io.ReadWriter) {
		skipInfo(rw)
		_, _ = rw.Write(marshal(t, &tmp2p.Packet{Sum: &tmp2p.Packet_PacketPong{PacketPong: &tmp2p.PacketPong{}}}))
		_, _ = rw.Write(marshal(t, &tmp2p.Packet{Sum: &tmp2p.Packet_PacketPing{PacketPing: &tmp2p.PacketPing{}}}))
		var b [64]byte
		n, _ := rw.Read(b[:])
		answer <- b[:n]
	})
	c := dial(t, addr, Stranger{})
	ctx, cancel := context.WithCancel(t.Context())
	held := make(chan error, 1)
	go func() { held <- c.Held(ctx, time.Minute) }()
	got := <-answer
	cancel()
	if err := <-held; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	pong, err := encodePong()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, pong) {
		t.Errorf("answered %x, want a pong, %x", got, pong)
	}
}

// skipInfo reads the stranger's node info, which fits into one frame.
func skipInfo(r io.Reader) {
	var b [1024]byte
	_, _ = r.Read(b[:])
}

// Half a frame arrives before the wait is over, the other half after: nothing of it may be lost.
func TestDeadlineInTheMiddleOfAFrame(t *testing.T) {
	more := make(chan struct{})
	addr := serveOnce(t, func(c net.Conn) {
		key := cometed25519.GenPrivKey()
		half := &halver{Conn: c}
		sc, err := conn.MakeSecretConnection(half, key)
		if err != nil {
			return
		}
		b, err := encodeNodeInfo(NodeInfo{ID: NodeID(key.PubKey().Bytes()), Network: testNetwork, Channels: []byte{ChannelPEX}})
		if err != nil {
			t.Error(err)
		}
		_, _ = sc.Write(b)
		skipInfo(sc)
		half.on = true
		_, _ = sc.Write(piece(t, 0, true, told(t, 3)))
		<-more
		_, _ = c.Write(half.rest)
		_, _ = io.Copy(io.Discard, c)
	})
	c := dial(t, addr, Stranger{})
	c.asked, c.last = true, time.Now().Add(-time.Hour) // as if asked, and given up on
	if err := c.Held(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	close(more)
	got, err := c.AskAddresses(t.Context())
	if err != nil || len(got) != 3 {
		t.Errorf("got %v, %v, want three addresses", got, err)
	}
}

// halver sends half of what is written, and keeps the rest.
type halver struct {
	net.Conn
	on   bool
	rest []byte
}

func (h *halver) Write(p []byte) (int, error) {
	if !h.on {
		return h.Conn.Write(p)
	}
	if _, err := h.Conn.Write(p[:len(p)/2]); err != nil {
		return 0, err
	}
	h.rest = append(h.rest, p[len(p)/2:]...)
	return len(p), nil
}
