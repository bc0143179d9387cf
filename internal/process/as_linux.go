package process

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// As calls do with u's rights on files, if we are root: what it reads, it reads as u, and what it makes is u's. Root can
// so work in a folder of somebody who is not trusted: whatever lies there, a link for one, leads no further than its
// owner could go himself. It holds for what do does by itself, and not in other goroutines or in processes that it
// starts. Where we are not root, do is called as it is.
func As(u User, do func() error) error {
	if !mayBecome(u) {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		// It is never unlocked: the thread ends with the goroutine, so that nobody else gets these rights.
		runtime.LockOSThread()
		if err := become(u); err != nil {
			done <- fmt.Errorf("act as user %d: %w", u.UID, err)
			return
		}
		done <- do()
	}()
	return <-done
}

// become changes the calling thread. The kernel takes root's capabilities over files from it with the user.
func become(u User) error {
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 { // unix.Setgroups is for all threads
		return e
	}
	for _, set := range []struct {
		id int
		to func(int) (int, error)
	}{{int(u.GID), unix.SetfsgidRetGid}, {int(u.UID), unix.SetfsuidRetUid}} {
		if _, err := set.to(set.id); err != nil {
			return err
		}
		if now, err := set.to(-1); err != nil || now != set.id { // which changes nothing and says what is
			return fmt.Errorf("it is %d: %w", now, unix.EPERM)
		}
	}
	return nil
}
