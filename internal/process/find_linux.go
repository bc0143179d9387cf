package process

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// LockHolders finds the processes that hold the lock on the file at path, ourselves left out, among those whose open
// files we may see. It serves when the file does not say who they are.
func LockHolders(path string) ([]Identity, error) {
	want, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find holders of lock: %w", err)
	}
	var found []Identity
	for _, pid := range pids() {
		if pid == os.Getpid() || !holds(pid, want) {
			continue
		}
		if id, err := Of(pid); err == nil {
			found = append(found, id)
		}
	}
	return found, nil
}

func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// holds says whether pid has want open through an open file that carries a lock: fdinfo lists the locks of each.
func holds(pid int, want os.FileInfo) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	entries, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		info, err := os.Stat(filepath.Join(dir, "fd", e.Name()))
		if err != nil || !os.SameFile(info, want) {
			return false
		}
		about, err := os.ReadFile(filepath.Join(dir, "fdinfo", e.Name()))
		return err == nil && bytes.Contains(about, []byte("FLOCK")) && bytes.Contains(about, []byte("WRITE"))
	})
}

// Listener finds the process that listens on a TCP port of this machine and the name of its program. The process is zero
// when it belongs to somebody whose open files we may not see.
func Listener(port uint16) (id Identity, name string, err error) {
	const listens = "0A"
	return ownerOf(sockets("tcp", port, listens))
}

// UDPHolder is Listener for a UDP port.
func UDPHolder(port uint16) (id Identity, name string, err error) {
	return ownerOf(sockets("udp", port, ""))
}

// ownerOf finds the process that has one of these sockets open.
func ownerOf(sockets []string) (id Identity, name string, err error) {
	if len(sockets) == 0 {
		return Identity{}, "", nil
	}
	for _, pid := range pids() {
		entries, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
		if err != nil {
			continue
		}
		for _, e := range entries {
			target, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/fd/" + e.Name())
			if !slices.Contains(sockets, target) {
				continue
			}
			if id, err = Of(pid); err != nil {
				return Identity{}, "", err
			}
			comm, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
			return id, strings.TrimSpace(string(comm)), nil
		}
	}
	return Identity{}, "", nil
}

// sockets lists the sockets of a protocol, as /proc/PID/fd names them, that have a local port; only those in a state
// unless that is empty.
func sockets(protocol string, port uint16, state string) []string {
	var inodes []string
	// Of this thread: the first one of a process, which /proc/net is about, may be in another network namespace.
	for _, table := range []string{"/proc/thread-self/net/" + protocol, "/proc/thread-self/net/" + protocol + "6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 || state != "" && fields[3] != state {
				continue
			}
			if _, p, ok := strings.Cut(fields[1], ":"); ok && hexPort(p) == port {
				inodes = append(inodes, "socket:["+fields[9]+"]")
			}
		}
		_ = f.Close()
	}
	return inodes
}

func hexPort(s string) uint16 {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 2 {
		return 0
	}
	return uint16(b[0])<<8 | uint16(b[1])
}
