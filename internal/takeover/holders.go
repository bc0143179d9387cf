package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// file is one, whatever it is called and from wherever it is seen.
type file struct{ device, inode uint64 }

func fileOf(info fs.FileInfo) (file, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return file{}, errors.ErrUnsupported
	}
	return file{uint64(st.Dev), st.Ino}, nil //nolint:unconvert // it is signed on some systems
}

func deviceOf(path string) (uint64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	f, err := fileOf(info)
	return f.device, err
}

// below are all files and folders of those folders that there are.
func below(folders []string) (map[file]bool, error) {
	all := map[file]bool{}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			f, err := fileOf(info)
			all[f] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// holders says which other processes have something of the folders open, or are in one. Files are told by what they are,
// not by what they are called: a container has other names for them.
func holders(folders ...string) ([]string, error) {
	files, err := below(folders)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		holds, err := holdsAny(filepath.Join("/proc", e.Name()), files, folders)
		if err != nil {
			return nil, fmt.Errorf("look at process %d: %w", pid, err)
		}
		if holds {
			name, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm")) // it may have ended since
			found = append(found, fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name))))
		}
	}
	return found, nil
}

func holdsAny(process string, files map[file]bool, folders []string) (bool, error) {
	links := []string{filepath.Join(process, "cwd"), filepath.Join(process, "root"), filepath.Join(process, "exe")}
	open, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		return false, ignoreEnded(err)
	}
	for _, e := range open {
		links = append(links, filepath.Join(process, "fd", e.Name()))
	}
	for _, link := range links {
		// A file that was removed has a name still, and one in a container another.
		to, err := os.Readlink(link)
		if err != nil {
			if err = ignoreEnded(err); err != nil {
				return false, err
			}
			continue
		}
		if slices.ContainsFunc(folders, func(f string) bool { return to == f || strings.HasPrefix(to, f+"/") }) {
			return true, nil
		}
		info, err := os.Stat(link)
		if err != nil {
			continue // a socket's or a pipe's name is no path, and what was removed has none
		}
		if f, err := fileOf(info); err == nil && files[f] {
			return true, nil
		}
	}
	return false, nil
}

// ignoreEnded: a process that has ended holds nothing, and a zombie has no files.
func ignoreEnded(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}
