package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/vmlab"
)

// vmTools are the programs that tests in a machine use.
var vmTools = []string{"ip", "nft", "tc"}

// TestVMKernelClock has the clocks of two machines wrong by years when they boot, and then jump.
func TestVMKernelClock(t *testing.T) {
	need(t)
	vm := machine(t)
	program := testProgram(t, "./e2e/vmguest")
	for name, years := range map[string]int{"5 years ahead": 5, "5 years behind": -5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			runInVM(t, vm, program, "^TestKernelClock", time.Now().AddDate(years, 0, 0))
		})
	}
}

// TestVMPackages has packages run those of their tests that are about the kernel on one that has all they want.
func TestVMPackages(t *testing.T) {
	need(t)
	vm := machine(t)
	for pkg, match := range map[string]string{
		"./e2e/vmguest":        "^TestKernelRules$",
		"./internal/netlab":    "^TestWireDelays$", // by netem there
		"./internal/wireguard": "Kernel|OpenTakes|DeviceOf|Watch",
	} {
		t.Run(filepath.Base(pkg), func(t *testing.T) {
			runInVM(t, vm, testProgram(t, pkg), match, time.Now())
		})
	}
}

// machine returns a machine, or skips t where there can be none.
func machine(t *testing.T) *vmlab.VM {
	t.Helper()
	vmlab.Skip(t)
	vm, err := vmlab.Prepare(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// testProgram builds the tests of a package for a machine.
func testProgram(t *testing.T, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "test")
	c := exec.CommandContext(t.Context(), "go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	c.Dir = ".."
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build tests of %s: %v\n%s", pkg, err, said)
	}
	return out
}

// runInVM runs those tests of a program whose names match, in a machine that boots at clock, and demands that one at
// least passed, and none failed or was skipped: what is skipped there runs nowhere.
func runInVM(t *testing.T, vm *vmlab.VM, program, match string, clock time.Time) {
	t.Helper()
	var out bytes.Buffer
	got, err := vm.Run(t.Context(), vmlab.Job{
		Files:    map[string]string{"/test": program},
		Args:     []string{"/test", "-test.v", "-test.timeout=100s", "-test.run", match},
		Programs: vmTools,
		Env:      map[string]string{"PRESSENTER_VM": "1", "PRESSENTER_VM_CLOCK": strconv.FormatInt(clock.Unix(), 10)},
		Clock:    clock,
		Out:      &out,
	})
	t.Logf("boot %v, total %v", got.Boot.Round(time.Millisecond), got.Total.Round(time.Millisecond))
	ends := outcomes(out.String())
	if err != nil || got.Code != 0 || len(ends["PASS"]) == 0 || len(ends["FAIL"])+len(ends["SKIP"]) > 0 {
		t.Fatalf("exit code %d, %v, outcomes %v\n%s", got.Code, err, ends, &out)
	}
	t.Logf("%d passed: %s", len(ends["PASS"]), strings.Join(ends["PASS"], " "))
}

var outcome = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)

// outcomes reads the names of tests by how they ended, in what go test -v prints.
func outcomes(printed string) map[string][]string {
	ends := map[string][]string{}
	for _, m := range outcome.FindAllStringSubmatch(printed, -1) {
		ends[m[1]] = append(ends[m[1]], m[2])
	}
	return ends
}
