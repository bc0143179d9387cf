package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/comet"
)

// witnesses ask the nodes of the world's validators.
func (n *network) witnesses() ([]*comet.Client, error) {
	i, err := n.state().World().LoadInventory()
	if err != nil {
		return nil, err
	}
	out := make([]*comet.Client, 0, len(i.Hosts))
	for _, h := range i.Hosts {
		out = append(out, &comet.Client{URL: "http://" + h.Listen.RPC, HTTP: n.client})
	}
	return out, nil
}

// block is a block as some validator of the world has it; height 0 is the newest.
func (n *network) block(ctx context.Context, height int64) (comet.Block, error) {
	clients, err := n.witnesses()
	if err != nil {
		return comet.Block{}, err
	}
	errs := []error{errors.New("no validator of the world tells")}
	for _, c := range clients {
		b, err := c.Block(ctx, height)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
	}
	return comet.Block{}, errors.Join(errs...)
}

// height is the newest height.
func (n *network) height(t *testing.T) int64 {
	t.Helper()
	var b comet.Block
	eventually(t, "the world to answer", func() (err error) { b, err = n.block(t.Context(), 0); return err })
	return int64(b.Header.Height)
}

// address is the validator's consensus address.
func (n *network) address(t *testing.T) string {
	t.Helper()
	st := n.host(t, "validator")
	if st.Enrolled == nil || len(st.Enrolled.Consensus) == 0 {
		t.Fatal("the validator is not enrolled")
	}
	return comet.Address(st.Enrolled.Consensus)
}

// signs waits for a block, committed from now on, with a signature of ours, as others hold it.
func (n *network) signs(t *testing.T) {
	t.Helper()
	n.signsBy(t, n.address(t))
}

// signsBy is signs for any consensus address.
func (n *network) signsBy(t *testing.T, address string) {
	t.Helper()
	from := n.height(t)
	eventually(t, "a signature of ours", func() error {
		b, err := n.block(t.Context(), 0)
		if err != nil {
			return err
		}
		if c := b.LastCommit; int64(c.Height) <= from || !comet.Signed(c, address) {
			return fmt.Errorf("the commit of height %d has none (there was none to be from %d on)", c.Height, from)
		}
		return nil
	})
}

// silent waits until blocks are made for a while without a signature of ours.
func (n *network) silent(t *testing.T) {
	t.Helper()
	n.silentBy(t, n.address(t))
}

// silentBy is silent for any consensus address.
func (n *network) silentBy(t *testing.T, address string) {
	t.Helper()
	const blocks = 4
	first := n.height(t)
	for h, quiet := first, 0; quiet < blocks; h++ {
		var b comet.Block
		eventually(t, fmt.Sprintf("block %d", h), func() (err error) { b, err = n.block(t.Context(), h); return err })
		if quiet++; comet.Signed(b.LastCommit, address) {
			quiet = 0
		}
		if h > first+60 {
			t.Fatalf("it goes on signing at height %d", b.LastCommit.Height)
		}
	}
}

// honest reads the whole chain: nobody ever showed that anybody signed twice.
func (n *network) honest(t *testing.T) {
	t.Helper()
	for h := n.height(t); h > 1; h-- {
		b, err := n.block(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if b.Evidence != 0 {
			t.Errorf("block %d has %d pieces of evidence of misbehaviour", h, b.Evidence)
		}
	}
}

// guard looks, until the test ends, that no home ever has two daemons and that our key never signs twice, in what any
// validator of the world saw.
func (n *network) guard(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	seen := signatures{ours: n.address(t), at: map[[2]int64]comet.Signature{}}
	wg.Go(func() {
		tick := time.NewTicker(150 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, err := range []error{n.oneDaemonEach(), n.collect(ctx, &seen)} {
				if err != nil {
					t.Error(err)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if len(seen.at) == 0 {
			t.Error("the guard saw no signature of ours at all")
		}
	})
}

// oneDaemonEach says where two daemons run.
func (n *network) oneDaemonEach() error {
	at := map[string]running{}
	var errs []error
	for _, r := range under(n.base) {
		if r.kind() != daemons {
			continue
		}
		if other, two := at[r.host()]; two && other.Alive() && r.Alive() {
			errs = append(errs, fmt.Errorf("two daemons on one home: %v and %v", other, r))
		}
		at[r.host()] = r
	}
	return errors.Join(errs...)
}

// signatures are those of one validator, by height and round.
type signatures struct {
	ours string
	at   map[[2]int64]comet.Signature
}

// collect adds what the newest commits hold, also those that are not in a block yet.
func (n *network) collect(ctx context.Context, seen *signatures) error {
	clients, err := n.witnesses()
	if err != nil {
		return nil // the folder is being removed
	}
	var errs []error
	for _, c := range clients {
		var commits []comet.Commit
		if h, err := c.Commit(ctx, 0); err == nil { // what this node saw itself; one that was stopped does not answer
			commits = append(commits, h.Commit)
		}
		if b, err := c.Block(ctx, 0); err == nil { // ours often comes after the others were enough
			commits = append(commits, b.LastCommit)
		}
		for _, commit := range commits {
			errs = append(errs, seen.add(commit))
		}
	}
	return errors.Join(errs...)
}

// add says where a signature differs from one that was seen before.
func (s *signatures) add(c comet.Commit) error {
	for _, sig := range c.Signatures {
		if !strings.EqualFold(sig.Address, s.ours) || sig.Flag == comet.FlagAbsent {
			continue
		}
		at := [2]int64{int64(c.Height), int64(c.Round)}
		if before, ok := s.at[at]; ok && !cmp.Equal(before, sig) {
			return fmt.Errorf("two signatures of ours at height %d, round %d: %v and %v", at[0], at[1], before, sig)
		}
		s.at[at] = sig
	}
	return nil
}
