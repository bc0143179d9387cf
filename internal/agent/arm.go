package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/signing"
)

// restoreKey puts a consensus key on the host and leaves it disarmed.
func (k *keeper) restoreKey(r *http.Request, req api.RestoreRequest) (api.SigningStatus, error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	defer clear(req.Key)
	if k.host == nil {
		return api.SigningStatus{}, refuse(http.StatusConflict, "not-enrolled", errors.New("this host is not enrolled"), "")
	}
	var assigned ed25519.PublicKey
	if r := k.rosters.State().Effective; r != nil && !r.Signer.PubKey.IsZero() {
		assigned = r.Signer.PubKey.Public()
	}
	err := k.Folder.asNode(func() error { return k.Folder.Signing().Restore(req.Key, req.HighWaterMark, assigned) })
	if err != nil {
		return api.SigningStatus{}, refuse(http.StatusConflict, "unsafe", err, "stop and retire the signer that holds the key now")
	}
	k.Logger.Info("consensus key restored, disarmed", "high_water_mark", req.HighWaterMark)
	k.poke()
	return k.signingStatus(r.Context(), k.host), nil
}

// arm begins to watch the chain; the key is armed at the end if nobody signed with it. Its own node is the witness:
// it must be caught up, and it runs without the key meanwhile.
func (k *keeper) arm(r *http.Request, req api.ArmRequest) (api.SigningStatus, error) {
	k.mu.Lock()
	h := k.host
	k.mu.Unlock()
	if h == nil {
		return api.SigningStatus{}, refuse(http.StatusConflict, "not-enrolled", errors.New("this host is not enrolled"), "")
	}
	st, err := k.Folder.loadSigning()
	switch {
	case err != nil:
		return api.SigningStatus{}, err
	case st.State == signing.None:
		return api.SigningStatus{}, refuse(http.StatusConflict, "unsafe", errors.New("there is no consensus key here"), "restore one with 'pressenter key restore'")
	case st.State == signing.Armed:
		return k.signingStatus(r.Context(), h), nil
	}
	if err := k.mayWatch(); err != nil {
		return api.SigningStatus{}, err
	}
	if !k.beginWatch() {
		return k.signingStatus(r.Context(), h), nil
	}
	k.Logger.Info("watching the chain before arming", "by", req.By)
	k.watches.Go(func() { k.watchAndArm(k.life, h, st) })
	return k.signingStatus(r.Context(), h), nil
}

// mayWatch: the witness must be this host's own node. In a copied folder the address of the RPC is the original's.
func (k *keeper) mayWatch() error {
	k.changing.Lock()
	defer k.changing.Unlock()
	f, err := k.look()
	switch {
	case err != nil:
		return err
	case f.intent.Stopped || f.intent.Held:
		return refuse(http.StatusConflict, "unsafe", errors.New("this host is stopped or held by "+f.intent.By), "run 'pressenter start' first")
	case f.moved:
		return refuse(http.StatusConflict, "unsafe", errors.New("this folder is a copy of a host, or was restored: its node does not run here"),
			"see docs/runbooks/moved-or-copied-folder.md")
	}
	if _, up := k.runner.Daemon(); !up {
		return refuse(http.StatusConflict, "unsafe", errors.New("this host's node does not run, so nobody can watch the chain"), "run 'pressenter start'")
	}
	return nil
}

const watchPrefix = "watching the chain for signatures of this key: "

// beginWatch begins a watch unless one goes on: two would each stop the node at their end.
func (k *keeper) beginWatch() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if strings.HasPrefix(k.watch, watchPrefix) {
		return false
	}
	k.watch = watchPrefix + "not begun yet"
	return true
}

func (k *keeper) setWatch(s string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watch = s
}

func (k *keeper) watchAndArm(ctx context.Context, h *host, st signing.Status) {
	proof, err := k.watchSilence(ctx, witness{h, &comet.Client{URL: "http://" + h.Enrollment.Listen.RPC}}, signing.Address(st.PublicKey))
	if err == nil {
		err = k.armNow(ctx, proof, st)
	}
	if err != nil {
		k.Logger.Error("key stays disarmed", "err", err)
		k.setWatch(err.Error())
		return
	}
	k.Logger.Info("consensus key armed", "from", proof.From, "until", proof.Until)
	k.setWatch("")
	k.poke()
}

// armNow stops the node, which ran without the key, and lets the next turn start it with the key.
func (k *keeper) armNow(ctx context.Context, proof signing.Proof, st signing.Status) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	now, err := k.Folder.loadSigning()
	if err != nil {
		return err
	}
	if !now.PublicKey.Equal(st.PublicKey) {
		return errors.New("another key was restored during the watch")
	}
	if i := k.Folder.loadIntent(); i.Stopped || i.Held {
		return errors.New("the host was stopped or held during the watch")
	}
	m, err := k.Folder.mark(st.PublicKey)
	if err != nil {
		return err
	}
	if proof.From <= m.Height {
		return fmt.Errorf("the watch began at height %d, but this host saw the key sign %d: is the node on the right chain?", proof.From, m.Height)
	}
	if err := k.runner.Stop(ctx); err != nil {
		return err
	}
	return k.Folder.asNode(func() error {
		if now.State == signing.Disarmed { // by the mark, perhaps, of which the signing folder does not know
			if err := k.Folder.Signing().Disarm(now.Reason); err != nil {
				return err
			}
		}
		return k.Folder.Signing().Arm(proof)
	})
}

// witness is this host's own node, and nothing else that may answer on its address.
type witness struct {
	host *host
	*comet.Client
}

// staleAfter is how old the newest block may be for the chain to count as going on. A wrong clock can only make a
// watch fail.
const staleAfter = 2 * time.Minute

// now asks the node how it is, and refuses an answer that is not its own, not of its chain or not of today.
func (w witness) now(ctx context.Context) (comet.Status, error) {
	st, err := w.Status(ctx)
	switch {
	case err != nil:
		return st, err
	case st.NodeID != w.host.Enrolled.NodeID:
		return st, fmt.Errorf("another node (%.12s) answers on this host's RPC address", st.NodeID)
	case st.Network != w.host.Enrollment.ChainID:
		return st, fmt.Errorf("the node is on chain %q, not %q", st.Network, w.host.Enrollment.ChainID)
	case st.CatchingUp:
		return st, errors.New("the node is still catching up")
	case time.Since(st.Time).Abs() > staleAfter:
		return st, fmt.Errorf("the node's newest block is of %s: the chain stands still, or a clock is wrong", st.Time.Format(time.RFC3339))
	}
	return st, nil
}

// watchSilence reads every commit from the next height on until enough of them lack the key's signature and as much
// time has passed as so many blocks take. The seen commit of the newest height is not used: it can still gain
// signatures.
func (k *keeper) watchSilence(ctx context.Context, w witness, address string) (signing.Proof, error) {
	first, err := w.now(ctx)
	if err != nil {
		return signing.Proof{}, err
	}
	if err := w.mustBeInSet(ctx, first.Height, address); err != nil {
		return signing.Proof{}, err
	}
	begun, p := time.Now(), signing.Proof{From: first.Height + 1, Until: first.Height}
	var paced pace
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for !paced.real(begun, time.Now()) || time.Since(begun) < k.shortestWatch() {
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-t.C:
		}
		if _, up := k.runner.Daemon(); !up {
			return p, errors.New("this host's node has stopped during the watch")
		}
		st, err := w.now(ctx)
		if err != nil {
			return p, err
		}
		if err := w.read(ctx, &p, &paced, st.Height, address); err != nil {
			return p, err
		}
		k.setWatch(fmt.Sprintf("%s%d silent blocks, of at least %d", watchPrefix, p.Until-p.From+1, signing.SilentBlocks))
	}
	return p, w.mustBeInSet(ctx, p.Until, address)
}

// pace is when the newest blocks of a watch were made, as their headers say, and when they were shown.
type pace []struct{ made, shown time.Time }

func (p *pace) add(made, shown time.Time) {
	*p = append(*p, struct{ made, shown time.Time }{made, shown})
	*p = (*p)[max(0, len(*p)-signing.SilentBlocks):]
}

// real says whether as many blocks as a watch needs were made since it began, and took nearly as long to be shown as to be
// made: who shows them faster replays them, or was behind.
func (p pace) real(begun, now time.Time) bool {
	if len(p) < signing.SilentBlocks {
		return false
	}
	first, last := p[0], p[len(p)-1]
	return first.made.After(begun) && now.Sub(first.shown) >= last.made.Sub(first.made)*9/10
}

// sees is what this host's own node sees of a consensus address, for who watches whether its key is silent.
func (k *keeper) sees(ctx context.Context, address, height string) (api.Seen, error) {
	at, err := strconv.ParseInt(height, 10, 64)
	if err != nil || at < 0 || len(address) != 40 {
		return api.Seen{}, refuse(http.StatusBadRequest, "invalid", fmt.Errorf("%q at height %q is not to be asked for", address, height), "")
	}
	client, err := k.client()
	if err != nil {
		return api.Seen{}, err
	}
	k.mu.Lock()
	w := witness{k.host, client}
	k.mu.Unlock()
	st, err := w.now(ctx)
	if err != nil {
		return api.Seen{}, err
	}
	out := api.Seen{Height: st.Height, Time: st.Time}
	if out.InSet, err = w.InValidatorSet(ctx, st.Height, address); err != nil || at == 0 || at >= st.Height {
		return out, err
	}
	c, err := w.Commit(ctx, at)
	out.Signed = signedAtAll(c.Commit, address)
	return out, err
}

// shortestWatch is how long a watch takes at least. A node that shows every block as late as it may would show until then only
// what was made before the watch began. A practice network, where nothing can be lost, is watched for its blocks only.
func (k *keeper) shortestWatch() time.Duration {
	if r := k.rosters.State().Effective; r != nil && r.Chain.Practice() {
		return r.Chain.BlockTime * signing.SilentBlocks * 9 / 10
	}
	return staleAfter
}

// read goes on with the watch up to the block before height.
func (w witness) read(ctx context.Context, p *signing.Proof, paced *pace, height int64, address string) error {
	for h := p.Until + 1; h < height; h++ {
		c, err := w.Commit(ctx, h)
		if err != nil {
			return err
		}
		p.Until = h
		paced.add(c.Header.Time, time.Now())
		if signedAtAll(c.Commit, address) {
			p.Signed = h
			return fmt.Errorf("somebody signed with it at height %d; find and stop that signer for good first", h)
		}
	}
	return nil
}

// mustBeInSet: who may not vote is always silent, so nothing is proven.
func (w witness) mustBeInSet(ctx context.Context, height int64, address string) error {
	in, err := w.InValidatorSet(ctx, height, address)
	if err == nil && !in {
		err = errors.New("the validator is not in the active set, where silence says nothing; unjail it first, then arm")
	}
	return err
}

// signedAtAll: a vote for nil is a signature too.
func signedAtAll(c comet.Commit, address string) bool {
	for _, s := range c.Signatures {
		if s.Flag != comet.FlagAbsent && strings.EqualFold(s.Address, address) {
			return true
		}
	}
	return false
}
