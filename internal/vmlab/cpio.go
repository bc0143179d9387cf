package vmlab

import (
	"bytes"
	"fmt"
	"io"
	"math"
)

// Types of files, as st_mode has them.
const (
	typeDir     = 0o040000
	typeRegular = 0o100000
)

// archive writes what the kernel unpacks as its first file system: cpio in the "newc" form that
// Documentation/driver-api/early-userspace/buffer-format.rst of the kernel describes. A directory must be written before
// what it holds. The first error stays, and close returns it.
type archive struct {
	w     io.Writer
	inode uint32
	err   error
}

func (a *archive) dir(name string) { a.entry(name, typeDir|0o755, 0, bytes.NewReader(nil)) }

func (a *archive) text(name string, mode uint32, content string) {
	a.entry(name, mode, int64(len(content)), bytes.NewReader([]byte(content)))
}

// entry adds one file with size bytes of r as its content.
func (a *archive) entry(name string, mode uint32, size int64, r io.Reader) {
	if size > math.MaxUint32 && a.err == nil {
		a.err = fmt.Errorf("archive %s: %d bytes are too many for this format", name, size)
	}
	if a.err != nil {
		return
	}
	a.inode++
	links, mtime, none := 1, 0, 0
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.inode, mode, 0, 0, links, mtime, size, none, none, none, none, len(name)+1, none, name)
	a.copy(name, int64(len(header)), bytes.NewReader([]byte(header)))
	a.copy(name, size, r)
}

// copy writes size bytes of r and fills up to a multiple of four.
func (a *archive) copy(name string, size int64, r io.Reader) {
	if a.err != nil {
		return
	}
	fill := -size & 3
	r = io.MultiReader(io.LimitReader(r, size), bytes.NewReader(make([]byte, fill)))
	if n, err := io.Copy(a.w, r); err != nil {
		a.err = fmt.Errorf("archive %s: %w", name, err)
	} else if n != size+fill {
		a.err = fmt.Errorf("archive %s: %d bytes of %d: %w", name, n-fill, size, io.ErrUnexpectedEOF)
	}
}

// close ends the archive. It does not close what lies under it.
func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, 0, bytes.NewReader(nil))
	return a.err
}
