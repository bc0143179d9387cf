package vpncloud

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// lowPortEnv makes the test binary start something as vpncloud is started, for the port in it.
const lowPortEnv = "VPNCLOUD_TEST_LOW_PORT"

// startCat prints what rights a child gets, and then what rights are left here.
func startCat(port string) int {
	p, err := strconv.Atoi(port)
	if err == nil {
		cat := exec.Command("cat", "/proc/self/status")
		cat.Stdout, cat.Stderr = os.Stdout, os.Stderr
		if err = start(cat, uint16(p)); err == nil {
			err = cat.Wait()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	threads, _ := filepath.Glob("/proc/self/task/*/status")
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if err == nil {
			_, _ = os.Stdout.WriteString(strings.ReplaceAll(string(b), "Cap", "OurCap"))
		}
	}
	return 0
}

// TestRights runs as nobody with the capabilities of the mesh's unit.
func TestRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give capabilities to another user")
	}
	const all, admin = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_BIND_SERVICE, 1 << unix.CAP_NET_ADMIN
	binary := filepath.Join(t.TempDir(), "test")
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, b, 0o755)
	}
	for dir := filepath.Dir(binary); err == nil && dir != os.TempDir(); dir = filepath.Dir(dir) { // nobody is to run it
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[string]int{"51820": admin, "443": all} {
		cmd := exec.Command(binary)
		cmd.Dir, cmd.Env = "/", []string{lowPortEnv + "=" + port, "PATH=/usr/bin:/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: 65534, Gid: 65534},
			AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE},
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if want := fmt.Sprintf("\nCapPrm:\t%016x\n", want); !strings.Contains(string(out), want) {
			t.Errorf("port %s: no %q in\n%s", port, want, out)
		}
		ours, kept := strings.Count(string(out), "\nOurCapAmb:"), strings.Count(string(out), fmt.Sprintf("\nOurCapAmb:\t%016x\n", all))
		if ours == 0 || kept != ours {
			t.Errorf("port %s: %d of %d threads have all rights afterwards:\n%s", port, kept, ours, out)
		}
	}
}
