package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
)

// Newcomer is a host that enrols itself: what an agent does when an operator asks it, done before there is one. It
// holds the agent's lock until it is closed. Each part may be done again after a crash.
type Newcomer struct {
	folder  Folder
	lock    *process.Lock
	rosters *rosterdir.Store
}

// NewcomerLock is how a newcomer calls itself in the agent's lock.
const NewcomerLock = "pressenter join"

// Newcomer takes the host's folder, which is made if need be. The error is a [process.Held] while its agent runs, or
// somebody else enrols it.
func (f Folder) Newcomer() (*Newcomer, error) {
	if err := os.MkdirAll(f.path("agent"), 0o700); err != nil {
		return nil, err
	}
	lock, err := process.TryLock(f.lock(), NewcomerLock)
	if err != nil {
		return nil, fmt.Errorf("take host folder %q: %w", f, err)
	}
	rosters, err := rosterdir.Open(f.rosters())
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Newcomer{f, lock, rosters}, nil
}

// Close lets the agent have the folder.
func (n *Newcomer) Close() error { return n.lock.Close() }

// ErrRemoved is inside the error where the rosters have removed a host.
var ErrRemoved = errors.New("was removed from deployment")

// EnrolledItself says whether a host was enrolled by [Newcomer]: nobody keeps a backup for it, because it holds no
// consensus key.
func EnrolledItself(e api.EnrollRequest) bool { return e.BackupTo == "" }

// Leave records that a person wants the host down, and ends whatever runs on it. Its keys stay.
func (n *Newcomer) Leave(ctx context.Context, by string) error {
	if err := writeJSON(n.folder.intent(), api.Intent{Stopped: true, By: by, Since: time.Now().UTC()}); err != nil {
		return err
	}
	return StopInspected(ctx, n.folder)
}

// Return takes back what Leave recorded. The agent starts the node once it runs.
func (n *Newcomer) Return(by string) error {
	if !n.folder.loadIntent().Stopped {
		return nil
	}
	return writeJSON(n.folder.intent(), api.Intent{By: by, Since: time.Now().UTC()})
}

// Membership is what the rosters that are stored here say of this host; false where there are none. It is an error that
// they removed it: its keys cannot come back.
func (n *Newcomer) Membership() (roster.Member, bool, error) {
	h, err := n.folder.loadHost()
	r := n.rosters.State().Effective
	if err != nil || h == nil || r == nil {
		return roster.Member{}, false, err
	}
	identity := roster.Key(h.Enrolled.Identity)
	if r.Tombstoned(identity) {
		return roster.Member{}, false, fmt.Errorf("host %q %w %q, and its keys cannot come back: take another folder", h.Enrollment.Name, ErrRemoved, r.Deployment)
	}
	m, member := r.MemberByIdentity(identity)
	return m, member, nil
}

// OwnKeys are a host's private keys, for proving that it holds them, and its node id. They are not to be kept, told or
// printed.
type OwnKeys struct {
	Identity ed25519.PrivateKey
	Tunnel   [32]byte // as [meshrun.PrivateKeys] has it
	TLS      ed25519.PrivateKey
	NodeID   string
}

// Enroll makes the host ready to hold a node of the mesh, with keys born now or the last time. What else r says may be
// another than then. r.Binary is copied, and stays as it is.
func (n *Newcomer) Enroll(ctx context.Context, r api.EnrollRequest) (OwnKeys, error) {
	known, err := n.folder.loadHost()
	if err != nil {
		return OwnKeys{}, err
	}
	if known != nil && !known.is(r) {
		return OwnKeys{}, fmt.Errorf("folder %q is of %s %q of deployment %q on chain %q: take another", n.folder,
			known.Enrollment.Role, known.Enrollment.Name, known.Enrollment.Deployment, known.Enrollment.ChainID)
	}
	if r.Binary, err = n.folder.keepBinary(r); err != nil {
		return OwnKeys{}, err
	}
	h, err := n.folder.enroll(ctx, r)
	if err != nil {
		return OwnKeys{}, fmt.Errorf("enrol %q: %w", r.Name, err)
	}
	out := OwnKeys{NodeID: h.Enrolled.NodeID}
	if out.Identity, err = n.folder.loadIdentity(); err != nil {
		return OwnKeys{}, err
	}
	private, tls, err := meshrun.PrivateKeys(string(n.folder), r.MeshDriver)
	out.Tunnel, out.TLS = private, tls
	return out, err
}

// is says whether a request is for the host that h is.
func (h *host) is(r api.EnrollRequest) bool {
	e := h.Enrollment
	return e.Name == r.Name && e.Role == r.Role && e.Deployment == r.Deployment && e.ChainID == r.ChainID
}

// keepBinary copies the daemon into the host's folder. The file that was named is the user's: a link to it would change
// with it, and its mode with ours.
func (f Folder) keepBinary(r api.EnrollRequest) (string, error) {
	to := f.path("store", r.BinaryHash, r.Daemon)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return "", err
	}
	err := atomicfile.Copy(r.Binary, to, r.BinaryHash, 0o700)
	if other := (*atomicfile.Differs)(nil); errors.As(err, &other) {
		return "", fmt.Errorf("the daemon %q is not the deployment's: its SHA-256 is %s, the deployment's %s", r.Binary, other.Have, other.Want)
	}
	if err != nil {
		return "", fmt.Errorf("copy the daemon: %w", err)
	}
	return to, nil
}

// Store makes the deployment's rosters durable.
func (n *Newcomer) Store(envelopes []roster.Envelope) error { return n.rosters.Learn(envelopes) }

// InstallGenesis reads the chain's genesis from path and writes it into the daemon's home, if the rosters that are
// stored here name it. An empty path is right where it is there already.
func (n *Newcomer) InstallGenesis(path string) error {
	r := n.rosters.State().Effective
	if r == nil {
		return errors.New("install genesis: the roster that names it is not known yet")
	}
	want := r.Chain.GenesisSHA256
	have, err := os.ReadFile(n.folder.genesis())
	if err == nil && sha256.Sum256(have) == want {
		return nil
	}
	if err := ignoreMissing(err); err != nil {
		return err
	}
	if path == "" {
		return fmt.Errorf("install genesis: the chain's genesis file is needed, with SHA-256 %s", want)
	}
	b, err := readAtMost(path, api.MaxRequest)
	if err != nil {
		return fmt.Errorf("read genesis: %w", err)
	}
	if sum := roster.Hash(sha256.Sum256(b)); sum != want {
		return fmt.Errorf("install genesis: %q is not the deployment's: its SHA-256 is %s, the roster's %s", path, sum, want)
	}
	return atomicfile.Write(n.folder.genesis(), b, 0o600)
}

// readAtMost reads a file that may be larger than it should.
func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%q has more than %d bytes", path, most)
	}
	return b, err
}
