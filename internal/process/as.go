package process

import (
	"fmt"
	"os"
	"syscall"
)

// User is one of the system's users, by numbers.
type User struct{ UID, GID uint32 }

// OwnerOf is who owns a folder, which must not be a link.
func OwnerOf(dir string) (User, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return User{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return User{}, fmt.Errorf("%q is no folder", dir)
	}
	return User{UID: st.Uid, GID: st.Gid}, nil
}

// IsRoot says whether it is the user who may do anything.
func (u User) IsRoot() bool { return u.UID == 0 }

// Credential is what a process that we start as u gets: u's groups and nothing of ours. Nil for our own user, and where
// we may not start any as somebody else.
func (u User) Credential() *syscall.Credential {
	if !mayBecome(u) {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID}
}

func mayBecome(u User) bool { return os.Geteuid() == 0 && !u.IsRoot() }
