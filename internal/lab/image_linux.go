package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:embed image.sh
var imageScript string

// cache is the folder that labs of this user share.
func cache() (string, error) {
	folder, err := os.UserCacheDir()
	return filepath.Join(folder, "pressenter", "lab"), err
}

// image returns the file system that hosts of a suite begin with. The first call on a computer makes it.
func image(ctx context.Context, folder, suite string) (string, error) {
	recipe := sha256.Sum256([]byte(imageScript + suite + Password))
	path := filepath.Join(folder, "images", suite+"-"+hex.EncodeToString(recipe[:6]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil // another lab made it meanwhile
	}
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "sh", "-c", "mount --make-rprivate /\n"+imageScript, "image", suite, unfinished, Password)
	// As the first of its namespace, the script takes all that it started and mounted with it when it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := onLastingThread(cmd.Start); err != nil {
		return "", fmt.Errorf("make an image of Debian %s: %w", suite, err)
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("make an image of Debian %s: %w: %s", suite, err, tail(out.Bytes()))
	}
	return path, os.Rename(unfinished, path)
}

// lock takes a lock file that other processes respect. The kernel gives it back when this process ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	taken := make(chan error, 1)
	go func() { taken <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err = <-taken:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// tail is the end of what a command wrote, for errors.
func tail(out []byte) []byte {
	const most = 2000
	return out[max(0, len(out)-most):]
}
