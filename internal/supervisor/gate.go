package supervisor

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// probeTimeout is how long a peer may take to accept a connection.
const probeTimeout = time.Second

// gate waits until a peer listens, or long enough: CometBFT sleeps for five to eight seconds after a first dial that was
// refused, so a start a moment later is a start seconds earlier. It says whether to go on.
func (r *runner) gate(ctx context.Context) bool {
	s := r.spec.Spec
	if len(s.Peers) == 0 || s.NoWait || r.chainBeginsLater() {
		return ctx.Err() == nil
	}
	wait := r.timing.gateFirst
	if r.starts > 0 {
		wait = r.timing.gateAgain
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	listens := make(chan struct{}, 1)
	var probes sync.WaitGroup
	defer probes.Wait()
	defer cancel()
	probe := func() {
		if len(listening(limited, s.Peers, 1)) > 0 {
			select {
			case listens <- struct{}{}:
			default:
			}
		}
	}
	tick := time.NewTicker(r.timing.gateEvery)
	defer tick.Stop()
	for {
		// A probe may hang where the next one gets through, such as one that came before the tunnel did.
		probes.Go(probe)
		select {
		case <-listens:
			return ctx.Err() == nil
		case <-limited.Done():
			return ctx.Err() == nil
		case <-tick.C:
			r.report.phase(WaitingForPeers)
		}
	}
}

// smallGenesis is what a genesis is read up to. Larger ones are of networks that began long ago.
const smallGenesis = 1 << 20

// chainBeginsLater says whether the chain's genesis time is still to come. Until then daemons sleep and listen nowhere
// (CometBFT, node.OnStart); then all that have been started listen at once. Who waits for others meanwhile comes late.
func (r *runner) chainBeginsLater() bool {
	f, err := os.Open(r.path(HomeDir, "config", "genesis.json"))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var genesis struct {
		Time time.Time `json:"genesis_time"`
	}
	err = json.NewDecoder(io.LimitReader(f, smallGenesis)).Decode(&genesis)
	return err == nil && time.Now().Before(genesis.Time)
}

// listening returns the ids of peers that accept a connection and greet now. It ends as soon as it has found enough.
func listening(ctx context.Context, peers []Peer, enough int) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	found := map[string]bool{}
	for _, p := range peers {
		all.Go(func() {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.Address)
			if err != nil {
				return
			}
			answers := greets(ctx, conn)
			_ = conn.Close()
			if !answers {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if found[p.NodeID] = true; len(found) >= enough {
				cancel()
			}
		})
	}
	all.Wait()
	return found
}

// greets says whether a node is at the other end: each side of CometBFT's secret connection sends its ephemeral key
// without being asked (spec/p2p/legacy-docs/peer.md, Secret connections). A port that leads through a mesh accepts
// whether or not anybody is behind it.
func greets(ctx context.Context, conn net.Conn) bool {
	if deadline, ok := ctx.Deadline(); ok && conn.SetReadDeadline(deadline) != nil {
		return false
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	n, _ := conn.Read(make([]byte, 1))
	return n == 1
}
