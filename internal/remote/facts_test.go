package remote

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
)

// asDaemon makes this test a program that does nothing until its input ends.
const asDaemon = "PRESSENTER_TEST_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(m.Run())
}

// Whatever a second signer is called by and wherever it lies, the look at a server sees it.
func TestFactsSeeDaemons(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("servers are Linux's")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mine := t.TempDir() // nobody else's programs are there
	programs := []struct {
		args []string
		seen bool
	}{
		{[]string{mine + "/gaiad", "start"}, true},
		{[]string{mine + "/osmosisd", "--home", "/x", "start"}, true},
		{[]string{mine + "/junod", "--home", "/x", "start", "--log_level", "warn"}, true},
		{[]string{mine + "/pressenter/akashd", "start"}, true},
		{[]string{mine + "/stride/var/lib/pressenter/strided", "start"}, true},
		{[]string{mine + "/umeed", "start", "--home=x:/var/lib/pressenter/node"}, true},
		{[]string{mine + "/cosmovisor", "run", "start"}, true},
		{[]string{mine + "/horcrux", "--home", "/x", "start"}, true},
		{[]string{mine + "/tmkms", "start", "-c", "x"}, true},
		{[]string{mine + "/sh", "-c", "gaiad start --home /x"}, true},
		{[]string{mine + "/regend", "status"}, false},
		{[]string{mine + "/apache2", "-k", "start"}, false},
		{[]string{"/opt/pressenter" + mine + "/simd", "start"}, false},
		{[]string{"/var/lib/pressenter" + mine + "/simd", "start", "--home", "/x"}, false},
	}
	for _, c := range programs {
		p := exec.Command(exe)
		p.Args, p.Env = c.args, append(os.Environ(), asDaemon+"=1")
		hold, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = hold.Close(); _ = p.Wait() })
	}
	out, err := exec.Command("/bin/sh", "-c", factsScript).Output()
	if err != nil {
		t.Fatal(err)
	}
	f, _ := parseFacts(string(out))
	for _, c := range programs {
		if slices.Contains(f.daemons, c.args[0]) != c.seen {
			t.Errorf("%q: seen %v, want %v", c.args, !c.seen, c.seen)
		}
	}
}
