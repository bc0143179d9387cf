package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// folder is one that a machine has, and whose it is.
type folder struct {
	path  string
	owner string
	mode  fs.FileMode
}

// folders are all of them, those that hold others first. All that the node's user writes is in one of them, and all that
// the mesh's user writes in another: each lies in a folder of root's, so that nobody else can put a link in its place.
var folders = []folder{
	{Folder, "root", 0o711},
	{Folder + "/agent", "root", 0o700},
	{Folder + "/store", "root", 0o755},
	{Folder + "/node", NodeUser, 0o700},
	{Folder + "/mesh", MeshUser, 0o700},
	{Programs, "root", 0o755},
}

// makeFolders makes folders, and gives those that are there to whom they belong.
func makeFolders(r *Report) error {
	for _, f := range folders {
		was, err := f.settle()
		if err != nil {
			return fmt.Errorf("folder %s: %w", f.path, err)
		}
		if was != "" {
			r.note("folder %s %s", f.path, was)
		}
	}
	return keepNames()
}

// keepNames makes the folders' names outlive a power cut, also of those that an earlier set-up was cut off at: what is put
// into them later is durable in a folder that is.
func keepNames() error {
	parents := map[string]bool{}
	for _, f := range folders {
		parents[filepath.Dir(f.path)] = true
	}
	var all error
	for parent := range parents {
		all = errors.Join(all, atomicfile.SyncFolder(parent))
	}
	return all
}

// settle makes the folder as it should be, and says what was otherwise; "" if nothing was.
func (f folder) settle() (was string, err error) {
	owner, err := lookUp(f.owner)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(f.path, 0o700); err == nil {
		was = "was missing"
	} else if !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	// Through the open folder, so that what is looked at is what is changed.
	dir, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.ErrUnsupported
	}
	if st.Uid != owner.UID || st.Gid != owner.GID {
		if was == "" {
			was = fmt.Sprintf("belonged to %d:%d", st.Uid, st.Gid)
		}
		if err := dir.Chown(int(owner.UID), int(owner.GID)); err != nil {
			return "", err
		}
	}
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if info.Mode()&bits != f.mode {
		if was == "" {
			was = fmt.Sprintf("had mode %04o", info.Mode().Perm())
		}
		if err := dir.Chmod(f.mode); err != nil {
			return "", err
		}
	}
	return was, nil
}
