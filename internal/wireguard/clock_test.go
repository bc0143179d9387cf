package wireguard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/tunnel"
)

// takesBackOldClock has a peer whose clock went back by a quarter of a century.
func takesBackOldClock(t *testing.T, open opener) {
	a, b := pair(t, open)
	reach(t, udpPort(t, a), udpPort(t, b))
	if err := a.place.do(a.Remove); err != nil {
		t.Fatal(err)
	}
	nowhere, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	if err := b.SetEndpoint(a.key, nowhere.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil { // it must not be the one to begin
		t.Fatal(err)
	}
	before := stateOf(t, b, a.key)
	old := startOldClock(t, a, b)
	eventually(t, "the old clock shakes hands", func() bool { return old.ask("sent") > 0 })
	c := open(t, 3, nil) // what comes after is taken
	setPeers(t, b, a.peer(netip.AddrPort{}), c.peer(c.at()))
	setPeers(t, c, b.peer(b.at()))
	reach(t, udpPort(t, c), udpPort(t, b))
	if s := stateOf(t, b, a.key); !s.Handshake.Equal(before.Handshake) {
		t.Errorf("a handshake of the year 2000 was taken after one of today: %+v", s)
	}
	if err := b.Reset(a.key); err != nil {
		t.Error(err)
	}
	old.ask("reset")
	eventually(t, "the old clock is taken back", func() bool { return stateOf(t, b, a.key).Handshake.After(before.Handshake) })
}

// oldClock is a process with an end for which it is the year 2000.
type oldClock struct {
	t       *testing.T
	orders  *json.Encoder
	answers *json.Decoder
}

// oldEnd is what such a process is told.
type oldEnd struct {
	Private tunnel.Key
	Address netip.Addr
	Listen  netip.AddrPort
	Peer    tunnel.Peer
}

// isOldClock is set for the process of an old clock.
const isOldClock = "PRESSENTER_TEST_OLD_CLOCK"

// startOldClock starts a process that is a from now on, and makes b its peer.
func startOldClock(t *testing.T, a, b *end) oldClock {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestOldClock$")
	cmd.Env, cmd.Stderr = append(os.Environ(), isOldClock+"=1"), os.Stderr
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.place.do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		orders.Close()
		cmd.Wait()
	})
	peer := b.peer(b.at())
	peer.Keepalive = time.Minute // and a handshake at once
	o := oldClock{t, json.NewEncoder(orders), json.NewDecoder(answers)}
	if err := o.orders.Encode(oldEnd{a.private, a.Address(), netip.AddrPortFrom(a.place.address, 0), peer}); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o oldClock) ask(order string) (n uint64) {
	o.t.Helper()
	if err := errors.Join(o.orders.Encode(order), o.answers.Decode(&n)); err != nil {
		o.t.Fatalf("the old clock answers %q with %v", order, err)
	}
	return n
}

// TestOldClock is the process of an old clock: in a bubble it is the year 2000. The bubble's clock stands still, as its
// sockets are real; a handshake needs none. It is a process because what is left in a bubble must not be collected.
func TestOldClock(t *testing.T) {
	if os.Getenv(isOldClock) == "" {
		t.Skip("it is a part of other tests")
	}
	debug.SetGCPercent(-1)
	synctest.Test(t, func(t *testing.T) {
		if time.Now().Year() != 2000 {
			t.Fatalf("it is %v in the bubble", time.Now())
		}
		var told oldEnd
		orders := json.NewDecoder(os.Stdin)
		if err := orders.Decode(&told); err != nil {
			t.Fatal(err)
		}
		d, err := Open(t.Context(), Config{Backend: Netstack, PrivateKey: told.Private, Address: told.Address, Network: network, Listen: told.Listen})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.SetPeers([]tunnel.Peer{told.Peer}); err != nil {
			t.Fatal(err)
		}
		for {
			var order string
			if err := orders.Decode(&order); errors.Is(err, io.EOF) {
				os.Exit(0)
			} else if err != nil {
				t.Fatal(err)
			}
			if order == "reset" {
				err = d.Reset(told.Peer.Key)
			}
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println(sentBy(d))
		}
	})
}

// sentBy returns how many bytes a device has sent.
func sentBy(d *Device) (n uint64) {
	states, err := d.Peers()
	if err != nil {
		return 0
	}
	for _, s := range states {
		n += s.Sent
	}
	return n
}
