package ssh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/ssh/sshtest"
)

// noise is data that does not compress, the same each time.
func noise(size int) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

func fileOf(data []byte, path string) File {
	sum := sha256.Sum256(data)
	return File{Source: bytes.NewReader(data), Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Path: path, Mode: 0o755}
}

func checkPushed(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s has %d bytes, %v, want %d others", path, len(got), err, len(want))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(path + ".part"); err == nil {
		t.Error("the part is still there")
	}
}

func TestPush(t *testing.T) {
	for name, o := range map[string]sshtest.Options{"plain": {}, "sudo": {Sudo: "ok"}} {
		t.Run(name, func(t *testing.T) {
			s := sshtest.Start(t, o)
			c := connect(t, dialer(t, s), target(s))
			for _, size := range []int{0, 1, 65 << 10, 3 << 20} {
				data := noise(size)
				f := fileOf(data, filepath.Join(s.Dir, "new folder", "it's a program"))
				f.Sudo = o.Sudo != ""
				var done []int64
				f.Progress = func(n, total int64) {
					if total != f.Size {
						t.Errorf("total %d", total)
					}
					done = append(done, n)
				}
				if err := c.Push(t.Context(), f); err != nil {
					t.Fatal(err)
				}
				checkPushed(t, f.Path, data)
				if done[len(done)-1] != f.Size {
					t.Errorf("progress ended with %d of %d", done[len(done)-1], size)
				}
			}
		})
	}
}

// What is there already is not sent again.
func TestPushTwice(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	c := connect(t, dialer(t, s), target(s))
	f := fileOf(noise(100<<10), filepath.Join(s.Dir, "program"))
	for range 2 {
		if err := c.Push(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Commands()); n != 3 {
		t.Errorf("%d commands, want two for the first push and one for the second", n)
	}
}

// failingAt is a source that ends a test's way at an offset.
type failingAt struct {
	*bytes.Reader
	limit int64
	fail  func() error
}

func (f *failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.limit {
		return 0, f.fail()
	}
	return f.Reader.ReadAt(p[:min(int64(len(p)), f.limit-off)], off)
}

// A push that was cut off goes on where it ended. One whose beginning is another file's starts over.
func TestPushResumes(t *testing.T) {
	s := sshtest.Start(t, sshtest.Options{})
	d := dialer(t, s)
	data := noise(8 << 20)
	f := fileOf(data, filepath.Join(s.Dir, "program"))
	part := f.Path + ".part"

	half := f
	half.Source = &failingAt{Reader: bytes.NewReader(data), limit: f.Size / 2, fail: func() error {
		// What was sent has to arrive before the connection is lost.
		waitFor(t, func() bool { info, err := os.Stat(part); return err == nil && info.Size() > 0 })
		s.Drop()
		return errBroken
	}}
	if err := connect(t, d, target(s)).Push(t.Context(), half); err == nil {
		t.Fatal("pushed half of it")
	}
	if _, err := os.Stat(f.Path); err == nil {
		t.Fatal("half a file has the name of the whole")
	}
	c := connect(t, d, target(s))
	var first int64 = -1
	f.Progress = func(n, _ int64) {
		if first < 0 {
			first = n
		}
	}
	waitFor(t, func() bool { return s.Running() == 0 }) // the shell of the lost connection writes what came
	if err := c.Push(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	checkPushed(t, f.Path, data)
	if first <= 0 {
		t.Errorf("went on from %d", first)
	}

	other := noise(9 << 20)[1<<20:]
	f = fileOf(other, f.Path)
	if err := os.WriteFile(part, data[:1<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Push(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	checkPushed(t, f.Path, other)
}

func TestPushFailures(t *testing.T) {
	programs := t.TempDir()
	program := func(name, script string) {
		writeFile(t, filepath.Join(programs, name), "#!/bin/sh\n"+script+"\n")
		if err := os.Chmod(filepath.Join(programs, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := sshtest.Start(t, sshtest.Options{Path: programs})
	c := connect(t, dialer(t, s), target(s))
	path := filepath.Join(s.Dir, "program")
	f := fileOf(noise(1<<20), path)
	check := func(t *testing.T, f File, want string) error {
		t.Helper()
		os.Remove(path + ".part")
		writeFile(t, path, "the old one")
		err := c.Push(t.Context(), f)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if old, err := os.ReadFile(path); err != nil || string(old) != "the old one" {
			t.Errorf("the old file has %d bytes, %v", len(old), err)
		}
		return err
	}
	t.Run("another hash", func(t *testing.T) {
		f := f
		f.SHA256 = strings.Repeat("0", 64)
		check(t, f, "another hash")
		if _, err := os.Stat(path + ".part"); err == nil {
			t.Error("the wrong part is kept")
		}
	})
	t.Run("shorter than said", func(t *testing.T) {
		f := f
		f.Size++
		check(t, f, "the next push goes on there")
	})
	t.Run("source breaks", func(t *testing.T) {
		f := f
		f.Source = &failingAt{Reader: bytes.NewReader(nil), fail: func() error { return errBroken }}
		if err := check(t, f, "broken on purpose"); !errors.Is(err, errBroken) {
			t.Error(err)
		}
	})
	t.Run("a folder", func(t *testing.T) {
		f := f
		f.Path = s.Dir
		check(t, f, "is a folder")
	})
	t.Run("relative", func(t *testing.T) {
		f := f
		f.Path = "program"
		check(t, f, "the path is absolute")
	})
	t.Run("little room", func(t *testing.T) {
		program("df", "echo head; echo disk 1000 900 100 90% /")
		defer os.Remove(filepath.Join(programs, "df"))
		var full *FullDiskError
		if err := check(t, f, "it needs 2 MB more and the disk has 0 MB free"); !errors.As(err, &full) || full.Hint() == "" {
			t.Error(err)
		}
	})
	t.Run("full under way", func(t *testing.T) {
		program("gzip", "head -c 1000; echo 'gzip: stdout: No space left on device' >&2; exit 1")
		defer os.Remove(filepath.Join(programs, "gzip"))
		var full *FullDiskError
		if err := check(t, f, "the disk is full"); !errors.As(err, &full) {
			t.Error(err)
		}
		if _, err := os.Stat(path + ".part"); err == nil {
			t.Error("the part still takes room")
		}
	})
	t.Run("full when synced", func(t *testing.T) {
		program("sync", "echo 'sync: error syncing: No space left on device' >&2; exit 1")
		defer os.Remove(filepath.Join(programs, "sync"))
		check(t, f, "the disk is full")
	})
}

// BenchmarkPush is a push of a Go program through a line of 20 Mbit/s with 40 ms there and back, packed and not.
func BenchmarkPush(b *testing.B) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		b.Skip(err)
	}
	program = program[:min(len(program), 6<<20)]
	for name, packed := range map[string]bool{"packed": true, "plain": false} {
		b.Run(name, func(b *testing.B) {
			s := sshtest.Start(b, sshtest.Options{})
			home := b.TempDir()
			d := &Dialer{
				home: home, ConfigFile: NoFile, Agent: NoFile, Identities: []string{s.ClientKey},
				OnFirstContact: func(context.Context, Contact) error { return nil },
			}
			host, _ := ParseTarget("deploy@" + slowLine(b, s.Addr))
			c, err := d.Dial(b.Context(), host)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			b.SetBytes(int64(len(program)))
			for b.Loop() {
				if err := c.send(b.Context(), fileOf(program, filepath.Join(s.Dir, "p")), 0, packed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// slowLine forwards a port at 2.5 MB/s, 20 ms later in each direction.
func slowLine(b *testing.B, to string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			in.Close()
			return
		}
		go slowly(out, in)
		slowly(in, out)
	}()
	return l.Addr().String()
}

func slowly(to io.WriteCloser, from io.Reader) {
	type piece struct {
		data []byte
		at   time.Time
	}
	pieces := make(chan piece, 1<<12)
	go func() {
		defer to.Close()
		for p := range pieces {
			time.Sleep(time.Until(p.at))
			to.Write(p.data)
		}
	}()
	defer close(pieces)
	const rate = 2.5e6
	free := time.Now()
	for {
		data := make([]byte, 16<<10)
		n, err := from.Read(data)
		if err != nil {
			return
		}
		if now := time.Now(); free.Before(now) {
			free = now
		}
		free = free.Add(time.Duration(float64(n) / rate * 1e9))
		time.Sleep(time.Until(free))
		pieces <- piece{data[:n], free.Add(20 * time.Millisecond)}
	}
}
