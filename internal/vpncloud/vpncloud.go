// Package vpncloud drives the program vpncloud 2.3.0 as the data plane of a mesh. The program is run, never linked.
//
// It is the second choice. What [tunnel.Tunnel] promises and this driver cannot keep:
//
//   - A packet's source address proves nothing ([Unproven]): any member may send under any other member's address.
//   - Nobody is hidden ([Discloses]): members tell each other where all others are.
//   - Who is trusted is read at start only, so a change of the set of peers interrupts all links ([Interrupts]). Keys that
//     come are gathered; a key that goes is cut off at once. Endpoints change without a restart.
//   - It does not roam: a peer whose address changed is back after some 12 seconds, the time it takes to be given up.
//   - A session cannot be reset alone, and a peer's key may speak even if it was given no address.
//
// Sockets survive a restart of the program, as the interface is ours and stays.
package vpncloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// What plan and doctor tell whoever chooses this driver.
const (
	// Discloses is why a validator cannot hide behind it.
	Discloses = "vpncloud tells every member the underlay addresses of all others: it cannot hide the validator's"
	// Unproven is why its control plane must not take a source address for a proof.
	Unproven = "vpncloud checks who may join, not what a member sends: any member can send under the mesh address of any other"
	// Interrupts is what every change of membership costs.
	Interrupts = "vpncloud reads its trusted keys at start: every change of membership interrupts all links for 3 to 15 seconds"
)

// SourceProves reports whether a packet's source address proves who sent it. The other drivers' does.
const SourceProves = false

// Timers of the program, in seconds. How long a peer may be silent is also how long it takes to heal: the time for a peer
// that moved, and at times for one that was restarted (if it could not say goodbye, the other may answer its new messages
// with an old one, and both repeat theirs thousands of times a second until then). With the program's own 300 s either takes
// minutes. Five lost messages in a row end a session.
const (
	peerTimeout   = 10
	peerKeepalive = 2
)

// Files in Config.Dir.
const (
	configFile    = "vpncloud.yaml"
	endpointsFile = "endpoints"
	portFile      = "port"
	lockFile      = "lock"
)

// Config says which member of which mesh this host is.
type Config struct {
	Binary    string         // path of vpncloud; empty: as Find says
	Dir       string         // private folder of this driver; holds the private key
	Interface string         // name of the TUN device; one that is in nobody's use is replaced
	Seed      tunnel.Key     // private, from [NewSeed]
	Listen    netip.AddrPort // UDP. Port 0: any free one, kept across restarts. The program cannot but listen
	// Public is the address at which others look for this host. Where the host has it, the program takes packets there
	// alone: it would answer from another one, and whoever asked would not know who that is. Invalid: none is known.
	Public  netip.Addr
	Address netip.Addr   // IPv6, our own inside the mesh
	Network netip.Prefix // of the mesh
	Logger  *slog.Logger // nil: none
}

// Device is one host's end of a mesh of vpncloud, a [tunnel.Tunnel]. Its methods may be used from several goroutines.
type Device struct {
	config  Config
	binary  string
	version string
	port    uint16
	lock    *process.Lock
	link    *link
	memory  string // folder in memory for what tells underlay addresses; empty: there is none
	log     *slog.Logger

	closing context.Context // ends when Close is called
	close   context.CancelFunc
	done    chan struct{} // closed when the supervisor has ended
	poke    chan struct{} // tells the supervisor to look again

	files sync.Mutex // serializes writers of the list of endpoints

	mu       sync.Mutex
	wanted   []tunnel.Peer
	asked    time.Time // when wanted last changed
	running  []string  // public keys that the living child trusts, or is about to, sorted; nil: there is none
	started  time.Time // when it was started
	restart  bool      // restart it though nothing changed
	changed  chan struct{}
	cause    string // why it does not run, in words; empty: it does, or is not wanted
	segments map[netip.Addr]int
	resets   map[tunnel.Key]time.Time
	seen     sightings
}

var _ tunnel.Tunnel = (*Device)(nil)

// Open takes the folder and the interface, ends what a predecessor that was killed left running there, and starts to
// supervise. The program itself runs as soon as there are peers. ctx bounds opening only.
func Open(ctx context.Context, c Config) (*Device, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("open vpncloud: %w", err)
	}
	binary, version, err := find(c.Binary, nil)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open vpncloud: %w", err)
	}
	if err := os.Chmod(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open vpncloud: %w", err)
	}
	lock, err := takeOver(ctx, filepath.Join(c.Dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("open vpncloud: %w", err)
	}
	d := &Device{
		config: c, binary: binary, version: version, lock: lock, log: c.Logger,
		done: make(chan struct{}), poke: make(chan struct{}, 1), changed: make(chan struct{}),
		segments: map[netip.Addr]int{}, resets: map[tunnel.Key]time.Time{}, seen: newSightings(),
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open vpncloud: %w", err), d.tidy())
	}
	d.closing, d.close = context.WithCancel(context.Background())
	go d.supervise()
	return d, nil
}

func (d *Device) prepare() (err error) {
	if d.port, err = choosePort(d.config.Listen, filepath.Join(d.config.Dir, portFile)); err != nil {
		return err
	}
	if d.memory, err = memoryFolder(d.config.Dir); err != nil {
		d.log.Warn("vpncloud counts nothing: its statistics hold addresses, and there is no file system in memory for them", "error", err)
	}
	d.link, err = openLink(d.config.Interface, d.config.Address, d.config.Network)
	return err
}

func (c Config) check() error {
	if err := checkInterface(c.Interface); err != nil {
		return err
	}
	if c.Dir == "" {
		return errors.New("no folder")
	}
	if _, err := PublicKey(c.Seed); err != nil {
		return err
	}
	if !c.Address.Is6() || c.Address.Is4In6() || c.Address.Zone() != "" {
		return fmt.Errorf("mesh address %v is not IPv6", c.Address)
	}
	if !c.Network.IsValid() || c.Network != c.Network.Masked() || !c.Network.Contains(c.Address) {
		return fmt.Errorf("mesh network %v does not hold %v", c.Network, c.Address)
	}
	return nil
}

// takeOver takes the lock. The program that a killed predecessor started holds it too, and is ended.
func takeOver(ctx context.Context, path string) (*process.Lock, error) {
	const name = "vpncloud supervisor"
	lock, err := process.TryLock(path, name)
	held := (*process.Held)(nil)
	if !errors.As(err, &held) {
		return lock, err
	}
	if held.Holder.Process.Alive() {
		return nil, err
	}
	left, err := process.LockHolders(path)
	if err != nil {
		return nil, err
	}
	for _, id := range left {
		if args, err := id.Args(); err != nil || !slices.Contains(args, configFile) {
			continue
		}
		if err := process.Terminate(ctx, id, stopGrace); err != nil {
			return nil, fmt.Errorf("end the vpncloud that was left running: %w", err)
		}
	}
	return process.TryLock(path, name)
}

// memoryFolder makes a folder in memory, named after dir. What an earlier run left in it goes.
func memoryFolder(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(abs))
	return makeInMemory("pressenter-vpncloud-" + hex.EncodeToString(sum[:8]))
}

// Backend names the program and its version.
func (d *Device) Backend() string { return "vpncloud " + d.version }

// Reason says in words why the program does not run, or what is odd about a peer; empty when there is nothing to say.
func (d *Device) Reason() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cause != "" {
		return d.cause
	}
	return d.seen.oddity(d.wanted, time.Now())
}

// ListenPort is the UDP port that the program listens on.
func (d *Device) ListenPort() uint16 { return d.port }

// Close ends the program and removes the interface. Afterwards peers cannot be set.
func (d *Device) Close() error {
	d.close()
	<-d.done
	return errors.Join(d.link.close(), d.tidy())
}

// tidy removes what needs not be kept, and lets go of the folder.
func (d *Device) tidy() error {
	err := os.Remove(filepath.Join(d.config.Dir, configFile)) // it holds the private key
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if d.memory != "" {
		err = errors.Join(err, os.RemoveAll(d.memory))
	}
	return errors.Join(err, d.lock.Close())
}

// SetPeers implements [tunnel.Tunnel]. When keys go, the program is stopped before it returns, and all links are
// interrupted; when keys come, that happens soon after. The other peers of a key that vpncloud cannot write are set all
// the same, and the error names it.
func (d *Device) SetPeers(peers []tunnel.Peer) error {
	usable, err := usablePeers(peers)
	d.mu.Lock()
	before, now := trusted(d.wanted), trusted(usable)
	d.wanted = usable
	if !slices.Equal(before, now) {
		d.asked = time.Now()
	}
	d.seen.forget(usable)
	d.mu.Unlock()
	err = errors.Join(err, d.writeEndpoints())
	d.nudge()
	return errors.Join(err, d.cutOff())
}

// usablePeers leaves out the peers whose key the program cannot read: it would not start.
func usablePeers(peers []tunnel.Peer) ([]tunnel.Peer, error) {
	var usable []tunnel.Peer
	var wrong []error
	for _, p := range peers {
		if err := Usable(p.Key); err != nil {
			wrong = append(wrong, fmt.Errorf("leave out peer %v: %w", p.Key, err))
			continue
		}
		usable = append(usable, p)
	}
	return usable, errors.Join(wrong...)
}

// cutOff waits until nobody runs who trusts a key that is not wanted.
func (d *Device) cutOff() error {
	limit := time.NewTimer(cutOffWait)
	defer limit.Stop()
	for {
		d.mu.Lock()
		changed, over := d.changed, !trustsOthers(d.running, trusted(d.wanted))
		d.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-d.done:
			return nil
		case <-limit.C:
			return fmt.Errorf("cut off removed peers: vpncloud has not ended after %v", cutOffWait)
		}
	}
}

// SetEndpoint implements [tunnel.Tunnel]. The program tries the new address within 2 seconds. A session that it has with
// the old one goes on until it is given up.
func (d *Device) SetEndpoint(key tunnel.Key, endpoint netip.AddrPort) error {
	d.mu.Lock()
	i := slices.IndexFunc(d.wanted, func(p tunnel.Peer) bool { return p.Key == key })
	if i >= 0 {
		d.wanted[i].Endpoint = endpoint
	}
	d.mu.Unlock()
	if i < 0 {
		return fmt.Errorf("set endpoint: %v is no peer", key)
	}
	return d.writeEndpoints()
}

// Reset implements [tunnel.Tunnel] as well as can be: one session cannot be reset. The program gives up a silent peer
// after 10 seconds by itself and then shakes hands anew; it is restarted only when all peers were reset since that long
// ago, so that no link is lost.
func (d *Device) Reset(key tunnel.Key) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(d.wanted, func(p tunnel.Peer) bool { return p.Key == key }) {
		return fmt.Errorf("reset: %v is no peer", key)
	}
	now := time.Now()
	d.resets[key] = now
	for _, p := range d.wanted {
		if now.Sub(d.resets[p.Key]) > resetWindow {
			return nil
		}
	}
	if d.running != nil && now.Sub(d.started) > resetGap {
		d.restart = true
		d.nudge()
	}
	return nil
}

// Peers implements [tunnel.Tunnel]. Handshake is when the program last took the peer in: it does not tell of later ones.
// Which session is whose follows from the addresses that the peers claim, which prove nothing. Bytes are counted once a
// minute.
func (d *Device) Peers() ([]tunnel.PeerState, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	states := make([]tunnel.PeerState, 0, len(d.wanted))
	for _, p := range d.wanted {
		states = append(states, d.seen.state(p))
	}
	return states, nil
}

// SetSegment implements [tunnel.Tunnel] with a route that advertises a smaller segment to the peer. It limits what the
// peer sends; the peer limits us likewise.
func (d *Device) SetSegment(address netip.Addr, packet int) error {
	if !d.config.Network.Contains(address) || packet < 0 {
		return fmt.Errorf("set segment of %v: not in the mesh", address)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.segments[address] == packet {
		return nil
	}
	if err := d.link.segment(address, packet); err != nil {
		return err
	}
	if d.segments[address] = packet; packet == 0 {
		delete(d.segments, address)
	}
	return nil
}

// Address implements [tunnel.Network].
func (d *Device) Address() netip.Addr { return d.config.Address }

// MTU implements [tunnel.Network].
func (d *Device) MTU() int { return d.link.mtu() }

// DialTCP implements [tunnel.Network].
func (d *Device) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.config.Address, 0))}
	return dialer.DialContext(ctx, "tcp6", to.String())
}

// ListenTCP implements [tunnel.Network].
func (d *Device) ListenTCP(port uint16) (net.Listener, error) {
	return net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.config.Address, port)))
}

// ListenUDP implements [tunnel.Network].
func (d *Device) ListenUDP(port uint16) (net.PacketConn, error) {
	return net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(d.config.Address, port)))
}
