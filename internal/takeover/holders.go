package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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

// below are a folder and all files and folders in it.
func below(folder string) (map[file]bool, error) {
	all := map[file]bool{}
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
	return all, err
}

// holders says which other processes have something of a folder open or mapped, or are in it. Files are told by what they are,
// not by what they are called: a container has other names for them.
func holders(folder string) ([]Holder, error) {
	files, err := below(folder)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Holder
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		holds, err := holdsAny(filepath.Join("/proc", e.Name()), files, folder)
		if err != nil {
			return nil, fmt.Errorf("look at process %d: %w", pid, err)
		}
		if holds {
			name, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm")) // it may have ended since
			found = append(found, Holder{pid, strings.TrimSpace(string(name))})
		}
	}
	return found, nil
}

func holdsAny(process string, files map[file]bool, folder string) (bool, error) {
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
		if to == folder || within(to, folder) {
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
	return mapsAny(process, files, folder)
}

// mapsAny says whether a process has a file mapped: it may have closed it since.
func mapsAny(process string, files map[file]bool, folder string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(process, "maps"))
	if err != nil {
		return false, ignoreEnded(err)
	}
	for line := range strings.Lines(string(b)) { // 7f00-7f01 r--p 00000000 08:01 1234 /path
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(f[3], "%x:%x", &major, &minor); err != nil {
			return false, fmt.Errorf("read what it has mapped: %w", err)
		}
		inode, err := strconv.ParseUint(f[4], 10, 64)
		if err != nil {
			return false, fmt.Errorf("read what it has mapped: %w", err)
		}
		if within(f[5], folder) || files[file{unix.Mkdev(major, minor), inode}] {
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
