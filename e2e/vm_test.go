package e2e

import (
	"bytes"
	"io"
	"io/fs"
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

// TestVMClockOffByAYear has a validator whose clock is a year off, ahead and behind, and those tests of SSH and of the mesh's TLS
// that log in and let in, on a machine that boots a year off.
func TestVMClockOffByAYear(t *testing.T) {
	need(t)
	vm := machine(t)
	t.Run("a validator", func(t *testing.T) {
		job := vmJob(testProgram(t, "./e2e/vmguest"), "^TestValidatorClock$", time.Now())
		job.Timeout, job.Args[2] = 6*time.Minute, "-test.timeout=5m"
		job.Files["/bin/practiced"] = practiced()
		home := oneValidator(t)
		err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				job.Files["/validator/home"+strings.TrimPrefix(path, home)] = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		passInVM(t, vm, job)
	})
	for pkg, match := range map[string]string{
		"./internal/relay": "^(TestDeliverToLink|TestStrangersAreRefused|TestAdmission)$",
		"./internal/ssh":   "^(TestRun|TestPush|TestFirstContact|TestChangedKey)$",
	} {
		t.Run(filepath.Base(pkg), func(t *testing.T) {
			program := testProgram(t, pkg)
			for _, years := range []int{1, -1} {
				runInVM(t, vm, program, match, time.Now().AddDate(years, 0, 0))
			}
		})
	}
}

// oneValidator makes the home of a chain's only validator.
func oneValidator(t *testing.T) (home string) {
	t.Helper()
	home = filepath.Join(t.TempDir(), "home")
	for _, args := range [][]string{
		{"init", "v", "--chain-id", "clock-1", "--default-denom", "uprac"},
		{"keys", "add", "v", "--keyring-backend", "test"},
		{"genesis", "add-genesis-account", "v", "1000000000000uprac", "--keyring-backend", "test"},
		{"genesis", "gentx", "v", "500000000000uprac", "--chain-id", "clock-1", "--keyring-backend", "test"},
		{"genesis", "collect-gentxs"},
	} {
		if said := ended(t, exec.Command(practiced(), append(args, "--home", home)...)); said.code != 0 {
			t.Fatal(said)
		}
	}
	file := filepath.Join(home, "config", "config.toml")
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, regexp.MustCompile(`(?m)^timeout_commit = .*`).ReplaceAll(b, []byte(`timeout_commit = "1s"`)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return home
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

// vmJob runs those tests of a program whose names match, in a machine that boots at clock.
func vmJob(program, match string, clock time.Time) vmlab.Job {
	return vmlab.Job{
		Files:    map[string]string{"/test": program},
		Args:     []string{"/test", "-test.v", "-test.timeout=100s", "-test.run", match},
		Programs: vmTools,
		Env:      map[string]string{"PRESSENTER_VM": "1", "PRESSENTER_VM_CLOCK": strconv.FormatInt(clock.Unix(), 10)},
		Clock:    clock,
	}
}

func runInVM(t *testing.T, vm *vmlab.VM, program, match string, clock time.Time) {
	t.Helper()
	passInVM(t, vm, vmJob(program, match, clock))
}

// passInVM runs tests in a machine and demands that one at least passed, and none failed or was skipped: what is skipped
// there runs nowhere.
func passInVM(t *testing.T, vm *vmlab.VM, job vmlab.Job) {
	t.Helper()
	var out bytes.Buffer
	if job.Out = &out; testing.Verbose() { // as it comes
		job.Out = io.MultiWriter(&out, os.Stdout)
	}
	got, err := vm.Run(t.Context(), job)
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
