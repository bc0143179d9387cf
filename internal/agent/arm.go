package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
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
	if err := k.Folder.Signing().Restore(req.Key, req.HighWaterMark, assigned); err != nil {
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
	h, watching := k.host, k.watch != "" && strings.HasPrefix(k.watch, watchPrefix)
	k.mu.Unlock()
	if h == nil {
		return api.SigningStatus{}, refuse(http.StatusConflict, "not-enrolled", errors.New("this host is not enrolled"), "")
	}
	st, err := k.Folder.Signing().Load()
	switch {
	case err != nil:
		return api.SigningStatus{}, err
	case st.State == signing.None:
		return api.SigningStatus{}, refuse(http.StatusConflict, "unsafe", errors.New("there is no consensus key here"), "restore one with 'pressenter key restore'")
	case st.State == signing.Armed || watching:
		return k.signingStatus(r.Context(), h), nil
	}
	if err := k.mayWatch(); err != nil {
		return api.SigningStatus{}, err
	}
	k.Logger.Info("watching the chain before arming", "by", req.By)
	k.setWatch(watchPrefix + "not begun yet")
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

func (k *keeper) setWatch(s string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.watch = s
}

func (k *keeper) watchAndArm(ctx context.Context, h *host, st signing.Status) {
	proof, err := k.watchSilence(ctx, &comet.Client{URL: "http://" + h.Enrollment.Listen.RPC}, signing.Address(st.PublicKey))
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
	now, err := k.Folder.Signing().Load()
	if err != nil {
		return err
	}
	if !now.PublicKey.Equal(st.PublicKey) {
		return errors.New("another key was restored during the watch")
	}
	if err := k.runner.Stop(ctx); err != nil {
		return err
	}
	return k.Folder.Signing().Arm(proof)
}

// watchSilence reads every commit from the next height on until enough of them lack the key's signature. The seen
// commit of the newest height is not used: it can still gain signatures.
func (k *keeper) watchSilence(ctx context.Context, client *comet.Client, address string) (signing.Proof, error) {
	first, err := client.Status(ctx)
	if err != nil {
		return signing.Proof{}, err
	}
	if first.CatchingUp {
		return signing.Proof{}, errors.New("the node is still catching up")
	}
	if in, err := client.InValidatorSet(ctx, first.Height, address); err != nil {
		return signing.Proof{}, err
	} else if !in {
		return signing.Proof{}, errNotInSet
	}
	p := signing.Proof{From: first.Height + 1, Until: first.Height}
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for p.Until-p.From+1 < signing.SilentBlocks {
		select {
		case <-ctx.Done():
			return p, ctx.Err()
		case <-t.C:
		}
		st, err := client.Status(ctx)
		if err != nil || st.CatchingUp {
			continue // the node restarts: no block is skipped by waiting
		}
		for h := p.Until + 1; h < st.Height; h++ {
			c, err := client.Commit(ctx, h)
			if err != nil {
				break
			}
			if signedAtAll(c.Commit, address) {
				p.Until, p.Signed = h, h
				return p, fmt.Errorf("somebody signed with it at height %d; find and stop that signer for good first", h)
			}
			p.Until = h
		}
		if _, up := k.runner.Daemon(); !up {
			return p, errors.New("this host's node has stopped during the watch")
		}
		k.setWatch(fmt.Sprintf("%s%d of %d silent blocks", watchPrefix, p.Until-p.From+1, signing.SilentBlocks))
	}
	in, err := client.InValidatorSet(ctx, p.Until, address)
	if err == nil && !in {
		err = errNotInSet
	}
	return p, err
}

// errNotInSet: who may not vote is always silent, so nothing is proven.
var errNotInSet = errors.New("the validator is not in the active set, where silence says nothing; unjail it first, then arm")

// signedAtAll: a vote for nil is a signature too.
func signedAtAll(c comet.Commit, address string) bool {
	for _, s := range c.Signatures {
		if s.Flag != comet.FlagAbsent && strings.EqualFold(s.Address, address) {
			return true
		}
	}
	return false
}
