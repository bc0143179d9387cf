package ssh

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
)

// File is what to push.
type File struct {
	Source io.ReaderAt
	Size   int64
	SHA256 string // of Source, in lower-case hex
	Path   string // on the server, absolute; its folder is made if it is missing
	Mode   fs.FileMode
	Sudo   bool // as root
	// Progress is told how many bytes of Size are done, if not nil.
	Progress func(done, total int64)
}

// FullDiskError says that a file does not fit.
type FullDiskError struct {
	Host, Path string
	Need, Free int64 // bytes; Free is -1 if it became full under way
}

func (e *FullDiskError) Error() string {
	if e.Free < 0 {
		return fmt.Sprintf("push %s to %s: the disk is full; what was pushed is removed", e.Path, e.Host)
	}
	return fmt.Sprintf("push %s to %s: it needs %d MB more and the disk has %d MB free", e.Path, e.Host, e.Need>>20+1, e.Free>>20)
}

// Hint says what to try next.
func (e *FullDiskError) Hint() string {
	return "make room, for example: journalctl --vacuum-size=100M; apt-get clean. See what is large: du -xh / | sort -h | tail"
}

// Push copies a file so that at Path is either what was there or all of the new file, checked by its hash and on disk. A
// file that is there already is not sent again. One that was cut off goes on where it ended, after the hash of what is
// there is compared; it waits in Path.part. It is removed when it is wrong or the disk is full.
func (c *Client) Push(ctx context.Context, f File) error {
	if !strings.HasPrefix(f.Path, "/") || len(f.SHA256) != 2*sha256.Size || f.Size < 0 {
		return fmt.Errorf("push %q: the path is absolute, the hash has %d digits, the size is known", f.Path, 2*sha256.Size)
	}
	have, err := c.inspect(ctx, f)
	if err != nil {
		return fmt.Errorf("push %s: %w", f.Path, err)
	}
	if have.done {
		f.report(f.Size)
		return nil
	}
	offset := have.part
	if offset > f.Size || offset > 0 && prefixHash(f.Source, offset) != have.hash {
		offset = 0
	}
	if need := f.Size - offset; have.free >= 0 && need > have.free+have.part-offset {
		return &FullDiskError{Host: c.Host(), Path: f.Path, Need: need, Free: have.free}
	}
	return c.send(ctx, f, offset, have.gzip)
}

func (f File) report(done int64) {
	if f.Progress != nil {
		f.Progress(done, f.Size)
	}
}

func prefixHash(r io.ReaderAt, n int64) string {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, n)); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// there is what a server has of a file.
type there struct {
	done bool
	gzip bool
	free int64 // bytes, -1 if it cannot be known
	part int64
	hash string // of part
}

// inspectScript gets the path, the hash and the mode. It answers in one line: done, or the facts of [there].
const inspectScript = `set -eu
LC_ALL=C; export LC_ALL; umask 022
mkdir -p -- "${1%/*}/"
if [ -d "$1" ]; then echo "$1 is a folder" >&2; exit 1; fi
sum() { sha256sum <"$1" | cut -d' ' -f1; }
if [ -f "$1" ] && [ "$(sum "$1")" = "$2" ]; then chmod "$3" -- "$1"; echo done; exit; fi
gz=no; if command -v gzip >/dev/null 2>&1; then gz=yes; fi
free=$(df -Pk -- "${1%/*}/" 2>/dev/null | awk 'NR==2 {print $4}') || free=
size=0; hash=-
if [ -f "$1.part" ]; then size=$(wc -c <"$1.part"); hash=$(sum "$1.part"); fi
echo part $gz ${free:--1} $size $hash`

func (c *Client) inspect(ctx context.Context, f File) (there, error) {
	var out bytes.Buffer
	err := c.Run(ctx, Command{Args: f.script(inspectScript), Stdout: &out, Sudo: f.Sudo})
	if err != nil {
		return there{}, err
	}
	words := strings.Fields(out.String())
	if len(words) == 1 && words[0] == "done" {
		return there{done: true}, nil
	}
	if len(words) != 5 || words[0] != "part" {
		return there{}, fmt.Errorf("%s answers %q; does its login shell print something of its own?", c.Host(), printable(out.String(), 80))
	}
	free, err1 := strconv.ParseInt(words[2], 10, 64)
	part, err2 := strconv.ParseInt(words[3], 10, 64)
	if free > 0 {
		free <<= 10
	}
	return there{gzip: words[1] == "yes", free: free, part: part, hash: words[4]}, errors.Join(err1, err2)
}

func (f File) script(script string, more ...string) []string {
	args := []string{"/bin/sh", "-c", script, "push", f.Path, f.SHA256, strconv.FormatUint(uint64(f.Mode.Perm()), 8)}
	return append(args, more...)
}

// sendScript gets further the size, "new" or "more", and how to unpack. Its own statuses say what became of the file.
const sendScript = `set -eu
LC_ALL=C; export LC_ALL; umask 077
part=$1.part
if [ "$5" = new ]; then rm -f -- "$part"; fi
if ! why=$($6 2>&1 >>"$part"); then
	case $why in *"No space left"*|*"quota exceeded"*) rm -f -- "$part"; exit 80 ;; esac
	if [ "$(wc -c <"$part")" -ge "$4" ] || [ -z "$why" ]; then echo "$why" >&2; exit 82; fi
fi
if [ "$(wc -c <"$part")" -lt "$4" ]; then echo "cut off: $why" >&2; exit 81; fi
if ! why=$(sync "$part" 2>&1); then
	case $why in *"No space left"*|*"quota exceeded"*) rm -f -- "$part"; exit 80 ;; esac
	echo "$why" >&2; exit 82
fi
if [ "$(sha256sum <"$part" | cut -d' ' -f1)" != "$2" ]; then rm -f -- "$part"; exit 83; fi
chmod "$3" -- "$part"
mv -f -- "$part" "$1"
sync "${1%/*}/"`

// The statuses of sendScript.
const (
	statusFull  = 80
	statusCut   = 81
	statusWrong = 83
)

func (c *Client) send(ctx context.Context, f File, offset int64, packed bool) error {
	packed = packed && f.Size-offset >= 64<<10
	state, unpack := "new", "cat"
	if offset > 0 {
		state = "more"
	}
	f.report(offset)
	source := &counted{r: io.NewSectionReader(f.Source, offset, f.Size-offset), done: offset, file: f}
	var body io.Reader = source
	if packed {
		unpack = "gzip -dc"
		body = pack(body)
	}
	err := c.Run(ctx, Command{
		Args: f.script(sendScript, strconv.FormatInt(f.Size, 10), state, unpack), Stdin: body, Sudo: f.Sudo,
	})
	source.stop()
	if closer, ok := body.(io.Closer); ok {
		closer.Close()
	}
	var exit *ExitError
	switch {
	case err == nil:
		f.report(f.Size)
		return nil
	case !errors.As(err, &exit):
	case exit.Status == statusFull:
		return &FullDiskError{Host: c.Host(), Path: f.Path, Need: f.Size, Free: -1}
	case exit.Status == statusWrong:
		return fmt.Errorf("push %s to %s: what arrived has another hash and is removed; was the file changed meanwhile? Push it again",
			f.Path, c.Host())
	case exit.Status == statusCut:
		return fmt.Errorf("push %s to %s: it was cut off (%s); the next push goes on there", f.Path, c.Host(), exit.Stderr)
	}
	return fmt.Errorf("push %s: %w", f.Path, err)
}

// pack compresses. The fastest level makes a program a third as large and keeps up with a line of 500 Mbit/s.
func pack(r io.Reader) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		// The compressor writes 240 bytes at a time, and each write is a packet that sshd takes by itself.
		whole := bufio.NewWriterSize(in, 32<<10)
		z, _ := gzip.NewWriterLevel(whole, gzip.BestSpeed)
		_, err := io.Copy(z, r)
		if err == nil {
			err = errors.Join(z.Close(), whole.Flush())
		}
		in.CloseWithError(err)
	}()
	return out
}

// counted reports what was taken from a file, and takes nothing more once it is stopped: a command may end before all was
// read.
type counted struct {
	mu   sync.Mutex
	over bool
	r    io.Reader
	done int64
	file File
}

func (c *counted) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
}

func (c *counted) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return 0, io.EOF
	}
	n, err := c.r.Read(p)
	if n > 0 {
		c.done += int64(n)
		c.file.report(c.done)
	}
	return n, err
}
