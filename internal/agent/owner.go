package agent

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/machine"
	"github.com/pressenter/pressenter/internal/meshrun"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/signing"
)

// node is the folder of all that the supervisor and the daemon read and write. On a machine that is one of its own, of
// its own user.
func (f Folder) node() string {
	if machine.Is(string(f)) {
		return f.path("node")
	}
	return string(f)
}

// asNode calls do with the rights of the node's user. On a machine the agent is root, and whatever lies in the node's
// folder may have been put there by a daemon that somebody took over.
func (f Folder) asNode(do func() error) error {
	u, err := f.owner(f.node())
	if err != nil {
		return err
	}
	return process.As(u, do)
}

// asMesh is asNode for the mesh's user and the folder of the mesh process.
func (f Folder) asMesh(do func() error) error {
	u, err := f.owner(f.path(meshrun.Folder))
	if err != nil {
		return err
	}
	return process.As(u, do)
}

// owner is who owns one of a machine's folders. It is root, as whom everything is done as it is, where there is no
// machine: there all is of one user. On a machine anybody else than its user is refused.
func (f Folder) owner(dir string) (process.User, error) {
	if !machine.Is(string(f)) {
		return process.User{}, nil
	}
	want, err := machine.Owner(filepath.Base(dir))
	if err != nil {
		return process.User{}, err
	}
	u, err := process.OwnerOf(dir)
	if err == nil && u != want {
		err = fmt.Errorf("folder %q belongs to user %d, not %d", dir, u.UID, want.UID)
	}
	return u, err
}

// loadSigning reads what the host's signing folder says of the consensus key, as far as its mark bears it out.
func (f Folder) loadSigning() (st signing.Status, err error) {
	err = f.asNode(func() error { st, err = f.Signing().Load(); return err })
	st, _ = f.believe(st)
	return st, err
}

// Kept reads what must outlive a host: the sign state of its consensus key, and the key's sealed backup. Nil: none. A key
// that has signed, or came from elsewhere, and has no backup is an error: with the host it would be gone.
func (f Folder) Kept() (signState, backup []byte, err error) {
	var st signing.Status
	hasKey := false
	err = f.asNode(func() error {
		key, err := atomicfile.Read(filepath.Join(f.Signing().Dir, signing.KeyFile), 64<<10)
		clear(key)
		if hasKey = err == nil; ignoreMissing(err) != nil {
			return err
		}
		if st, err = f.Signing().Load(); err != nil {
			return err
		}
		signState, err = atomicfile.Read(filepath.Join(f.Signing().Dir, signing.StateFile), 64<<10)
		return ignoreMissing(err)
	})
	if err != nil {
		return nil, nil, err
	}
	if backup, err = os.ReadFile(f.backup()); ignoreMissing(err) != nil {
		return nil, nil, err
	}
	h, err := f.loadHost()
	if err != nil {
		return nil, nil, err
	}
	if len(backup) == 0 && h != nil {
		backup = h.Enrolled.Backup
	}
	neverSigned := h == nil && st.State == signing.Armed && st.LastHeight == 0 && st.Floor == 0
	if hasKey && len(backup) == 0 && !neverSigned {
		return nil, nil, fmt.Errorf("the consensus key of the address %s is here, and no sealed backup of it: keep a copy of %s first, and of what is beside it, and then remove the file",
			signing.Address(st.PublicKey), filepath.Join(f.Signing().Dir, signing.KeyFile))
	}
	return signState, backup, nil
}

// dialMesh is a client of the host's mesh process.
func (f Folder) dialMesh() (*api.Client, error) {
	u, err := f.owner(f.path(meshrun.Folder))
	if err != nil {
		return nil, err
	}
	if u.IsRoot() {
		return api.DialMesh(string(f), string(f)), nil
	}
	return api.DialMeshOf(string(f), string(f), u), nil
}
