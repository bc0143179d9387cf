package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// turn looks, decides and does.
func (k *keeper) turn(ctx context.Context) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.syncMesh(ctx)
	f, trouble := k.look()
	v := decide(f)
	var err error
	if trouble == nil {
		err = k.followMesh(ctx, f)
	}
	switch v.wish {
	case stop:
		if f.up {
			k.Logger.Info("stopping node", "why", v.reason)
			err = errors.Join(err, k.runner.Stop(ctx))
		}
	case run:
		if trouble == nil {
			err = errors.Join(err, k.follow(ctx, f, v))
		}
	case leave:
		if f.up && v.silent && k.signs() {
			k.Logger.Warn("stopping a node that must not sign now", "why", v.reason)
			err = errors.Join(err, k.runner.Stop(ctx))
		}
	}
	err = errors.Join(err, trouble)
	k.note(f, v, err)
	return err
}

// note keeps what came of a turn.
func (k *keeper) note(f facts, v verdict, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.verdict, k.trouble, k.applied, k.behind = v, err, "", ""
	switch {
	case err != nil:
		k.behind = err.Error()
	case len(f.state.Heads) > 1:
		k.behind = "it knows two rosters that contradict each other"
	case v.wish == leave:
		k.behind = v.reason
	case !k.meshFollows:
		k.behind = "its mesh process has not taken the roster: " + k.meshTrouble
	case len(f.state.Heads) == 1:
		k.applied = f.state.Heads[0].String()
	}
}

// follow makes files and processes as v wants them. A daemon that may hold the consensus key and must not any more is
// ended first, whatever its restarts wait for: it would sign on until it reads its files again.
func (k *keeper) follow(ctx context.Context, f facts, v verdict) error {
	local := node.LocalOf(f.host.Enrollment.Listen)
	if v.sign {
		local.KeyFile, local.StateFile = node.ArmedKey, node.ArmedState
	}
	files, err := node.Settings(v.roster, v.self, local)
	if err != nil {
		return err
	}
	spec := k.spec(f, v, files)
	old, specErr := k.nodeSpec() // one that cannot be read is written anew
	if !v.sign && k.signs() || f.up && k.mustRest(old, spec, v) {
		k.Logger.Info("stopping node before it may go on", "revision", spec.Revision, "sign", v.sign)
		if err := k.runner.Stop(ctx); err != nil {
			return err
		}
		f.up = false
	}
	var changed bool
	err = k.Folder.asNode(func() error { changed, err = files.Write(k.Folder.Home()); return err })
	if err != nil {
		return err
	}
	if changed {
		k.Logger.Info("configuration written", "revision", spec.Revision, "sign", v.sign)
	}
	if specErr != nil || !sameSpec(old, spec) { // after the files, so that a restart finds them
		if err := k.Folder.asNode(func() error { return supervisor.WriteSpec(k.Folder.node(), spec) }); err != nil {
			return err
		}
	}
	return k.ensureUp(f, v)
}

// throwsAway checks that the key in the home, which a node runs on that may not sign, is not the consensus key: somebody may
// have put it back to where it was.
func (f Folder) throwsAway() error {
	path := filepath.Join(f.Home(), "config", "priv_validator_key.json")
	b, err := atomicfile.Read(path, 64<<10)
	if err != nil {
		return ignoreMissing(err) // the daemon makes a new one
	}
	defer clear(b)
	pub, err := signing.PublicKey(b)
	if err != nil {
		return nil // one of another kind is not ours
	}
	if st, err := f.Signing().Load(); err != nil || st.PublicKey == nil || !st.PublicKey.Equal(pub) {
		return err
	}
	return fmt.Errorf("the consensus key lies at %s, and a node that may not sign would sign with it: remove that file", path)
}

// ensureUp starts the supervisor where there is none; it adopts a daemon that runs without one.
func (k *keeper) ensureUp(f facts, v verdict) error {
	if _, supervised := k.runner.Supervisor(); supervised {
		return nil
	}
	if !f.up {
		var purged bool
		err := k.Folder.asNode(func() (err error) {
			if purged, err = node.PurgeAddressBook(k.Folder.Home(), node.PrivateIDs(v.roster, v.self)); err != nil || v.sign {
				return err
			}
			return k.Folder.throwsAway()
		})
		if err != nil {
			return err
		}
		if purged {
			k.Logger.Info("address book held a private id: removed")
		}
	}
	k.Logger.Info("starting supervisor", "daemon_runs", f.up)
	return k.runner.Start()
}

// spec is what the supervisor is told.
func (k *keeper) spec(f facts, v verdict, files node.Files) supervisor.Spec {
	s := supervisor.Spec{
		Daemon:       f.host.Enrollment.Daemon,
		RPC:          "http://" + f.host.Enrollment.Listen.RPC,
		BlockTime:    v.roster.Chain.BlockTime,
		Revision:     files.Revision(),
		Core:         files.Core(),
		RestartToken: v.self.Restart,
	}
	for _, p := range node.Dials(v.roster, v.self, node.LocalOf(f.host.Enrollment.Listen)) {
		s.Peers = append(s.Peers, supervisor.Peer{NodeID: p.NodeID, Address: p.Address, Name: p.Name})
	}
	return s
}

// sameSpec compares what the agent sets; the supervisor's reading fills in defaults.
func sameSpec(a, b supervisor.Spec) bool {
	return a.Daemon == b.Daemon && a.RPC == b.RPC && a.Revision == b.Revision && a.Core == b.Core && a.RestartToken == b.RestartToken &&
		(a.BlockTime == b.BlockTime || b.BlockTime == 0) && slices.Equal(a.Peers, b.Peers)
}

// mustRest says whether the node has to be down before its files may change: a node that is about to be restarted
// while its address book holds what it must no longer tell.
func (k *keeper) mustRest(old, now supervisor.Spec, v verdict) bool {
	if old.RestartToken == now.RestartToken {
		return false
	}
	private := node.PrivateIDs(v.roster, v.self)
	book, err := k.addressBook()
	return err == nil && slices.ContainsFunc(book, func(a comet.KnownAddress) bool { return slices.Contains(private, a.ID) })
}

// signs says whether the node's files may let it sign. Where they cannot be looked at, they may.
func (k *keeper) signs() bool {
	yes := true
	err := k.Folder.asNode(func() error { yes = node.Signs(k.Folder.Home()); return nil })
	return yes || err != nil
}

// nodeSpec is what the supervisor was told last.
func (k *keeper) nodeSpec() (s supervisor.Spec, err error) {
	err = k.Folder.asNode(func() error { s, err = supervisor.ReadSpec(k.Folder.node()); return err })
	return s, err
}

// addressBook is whom the node knows.
func (k *keeper) addressBook() (book []comet.KnownAddress, err error) {
	err = k.Folder.asNode(func() error {
		book, err = comet.ReadAddrBook(filepath.Join(k.Folder.Home(), "config", "addrbook.json"))
		return err
	})
	return book, err
}

// hashed is a file's hash and what the file looked like when it was taken.
type hashed struct {
	sum  string
	size int64
	mod  time.Time
}

// genesisHash is the hex SHA-256 of the genesis in the home, "" when there is none. A large file is read only when
// it has changed.
func (k *keeper) genesisHash() (string, error) {
	k.hashing.Lock()
	defer k.hashing.Unlock()
	err := k.Folder.asNode(func() error { return k.genesis.of(k.Folder.genesis()) })
	if err != nil {
		return "", fmt.Errorf("hash genesis: %w", err)
	}
	return k.genesis.sum, nil
}

// of brings h up to date with the file at path.
func (h *hashed) of(path string) error {
	f, err := atomicfile.OpenPlain(path)
	if errors.Is(err, fs.ErrNotExist) {
		*h = hashed{}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if h.sum != "" && h.size == info.Size() && h.mod.Equal(info.ModTime()) {
		return nil
	}
	*h = hashed{}
	if info.Size() > api.MaxRequest { // none is installed that is larger
		return fmt.Errorf("%q has %d bytes, and at most %d are taken", path, info.Size(), api.MaxRequest)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(f, info.Size())); err != nil {
		return err
	}
	*h = hashed{sum: hex.EncodeToString(sum.Sum(nil)), size: info.Size(), mod: info.ModTime()}
	return nil
}
