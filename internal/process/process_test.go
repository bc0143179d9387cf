package process

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func launch(t *testing.T, name string, files ...*os.File) (*Child, string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	child, err := Start(Spec{Path: as(t, name), Dir: t.TempDir(), LogPath: log, ExtraFiles: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Identity.Kill() })
	return child, log
}

func awake(t *testing.T, log string) string {
	t.Helper()
	var said string
	eventually(t, "process says that it runs", func() bool {
		b, _ := os.ReadFile(log)
		said = string(b)
		return strings.HasSuffix(said, "\n")
	})
	return strings.TrimSpace(said)
}

func TestIdentity(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(self, again); diff != "" {
		t.Errorf("same process, two identities:\n%s", diff)
	}
	b, err := json.Marshal(self)
	if err != nil {
		t.Fatal(err)
	}
	var read Identity
	if err := json.Unmarshal(b, &read); err != nil || read != self || !read.Alive() {
		t.Errorf("identity %s does not survive JSON: %v", b, err)
	}
	for name, other := range map[string]Identity{
		"start": {PID: self.PID, Start: "1", Boot: self.Boot},
		"boot":  {PID: self.PID, Start: self.Start, Boot: self.Boot + "x"},
		"zero":  {},
	} {
		if other.Alive() {
			t.Errorf("other %s: alive", name)
		}
		if err := other.Signal(0); err == nil {
			t.Errorf("other %s: signalled", name)
		}
	}
}

func TestStartGivesOnlyWhatIsNamed(t *testing.T) {
	t.Setenv("A_SECRET", "x")
	leak, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = leak.Close() }()
	// As if our own parent had left it open.
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, leak.Fd(), syscall.F_SETFD, 0); errno != 0 {
		t.Fatal(errno)
	}
	child, log := launch(t, "sleeper")
	if got, want := awake(t, log), "asleep 0 0"; got != want {
		t.Errorf("process says %q, want %q", got, want)
	}
	info, err := os.Stat(log)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("log: %v, %v", info.Mode(), err)
	}
	if group, err := syscall.Getpgid(child.Identity.PID); err != nil || group != child.Identity.PID {
		t.Errorf("process is in group %d (%v), want its own", group, err)
	}
	if args, err := child.Identity.Args(); err != nil || len(args) != 1 || filepath.Base(args[0]) != "sleeper" {
		t.Errorf("args %q, %v", args, err)
	}
	self, err := os.Stat(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if exe, err := child.Identity.Executable(); err != nil || !os.SameFile(exe, self) {
		t.Errorf("executable %v, %v", exe, err)
	}
	if use, err := child.Identity.Usage(); runtime.GOOS == "linux" && (err != nil || use.RSS == 0) {
		t.Errorf("usage %v, %v", use, err)
	}
}

func TestWait(t *testing.T) {
	child, _ := launch(t, "exiter")
	eventually(t, "a zombie counts as ended", func() bool { return !child.Identity.Alive() })
	if err := child.Identity.Signal(syscall.SIGTERM); !errors.Is(err, ErrGone) {
		t.Errorf("signal a zombie: %v, want ErrGone", err)
	}
	if got, want := child.Wait(), (Exit{Code: 7}); got != want {
		t.Errorf("exit %+v, want %+v", got, want)
	}
}

func TestTerminate(t *testing.T) {
	for name, want := range map[string]string{"sleeper": "terminated", "stubborn": "killed"} {
		t.Run(name, func(t *testing.T) {
			child, log := launch(t, name)
			awake(t, log)
			exit := make(chan Exit, 1)
			go func() { exit <- child.Wait() }()
			if err := Terminate(t.Context(), child.Identity, 200*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if child.Identity.Alive() {
				t.Error("still alive")
			}
			if got := <-exit; got.Signal != want || got.Code != -1 {
				t.Errorf("exit %+v, want signal %q", got, want)
			}
			if err := Terminate(t.Context(), child.Identity, time.Second); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestTerminateGivesUpWithContext(t *testing.T) {
	child, log := launch(t, "stubborn")
	awake(t, log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Terminate(ctx, child.Identity, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if !child.Identity.Alive() {
		t.Error("killed before its grace was over")
	}
}

func TestStartDetached(t *testing.T) {
	id, err := StartDetached(Spec{Path: as(t, "exiter")})
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := StartDetached(Spec{Path: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start nothing: %v, want not exist", err)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path, "first")
	if err != nil {
		t.Fatal(err)
	}
	_, err = TryLock(path, "second")
	held := (*Held)(nil)
	if !errors.As(err, &held) {
		t.Fatalf("second lock: %v, want Held", err)
	}
	if held.Holder.Name != "first" || held.Holder.Process.PID != os.Getpid() || !held.Holder.Process.Alive() {
		t.Errorf("holder %+v", held.Holder)
	}
	// A shorter word leaves nothing of the longer one.
	if err := lock.Record(Holder{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	if h, err := ReadHolder(path); err != nil || h.Name != "x" {
		t.Errorf("holder %+v, %v", h, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := TryLock(path, "second")
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLockLivesWithItsHeir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path, "parent")
	if err != nil {
		t.Fatal(err)
	}
	child, log := launch(t, "sleeper", lock.File())
	awake(t, log)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	held := (*Held)(nil)
	if _, err := TryLock(path, "other"); !errors.As(err, &held) {
		t.Fatalf("lock of a living heir: %v, want Held", err)
	}
	if runtime.GOOS == "linux" {
		ids, err := LockHolders(path)
		if diff := cmp.Diff([]Identity{child.Identity}, ids); err != nil || diff != "" {
			t.Errorf("holders: %v\n%s", err, diff)
		}
	}
	taken := make(chan error, 1)
	go func() {
		l, err := WaitLock(t.Context(), path)
		if err == nil {
			err = l.Close()
		}
		taken <- err
	}()
	if err := child.Identity.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	if err := <-taken; err != nil {
		t.Error(err)
	}
}

func TestWaitLockEndsWithContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path, "first")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WaitLock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}
