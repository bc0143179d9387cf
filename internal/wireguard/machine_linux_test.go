package wireguard

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/vmlab"
)

var machine = flag.Bool("machine", false, "run the tests of the kernel's WireGuard in a machine that has it; takes minutes")

// TestInMachine runs this program's tests of the kernel in a machine whose kernel has WireGuard.
func TestInMachine(t *testing.T) {
	if !*machine {
		t.Skip("takes minutes: ask for it with -machine")
	}
	vmlab.Skip(t)
	vm, err := vmlab.Prepare(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	got, err := vm.Run(t.Context(), vmlab.Job{
		Files:   map[string]string{"/bin/wireguard.test": self},
		Args:    []string{"wireguard.test", "-test.run", "Kernel|OpenTakes|DeviceOf|Watch", "-test.v"},
		Out:     &out,
		Timeout: 10 * time.Minute,
	})
	t.Logf("%s", &out)
	if err != nil || got.Code != 0 {
		t.Errorf("result %+v, %v", got, err)
	}
	if !bytes.Contains(out.Bytes(), []byte("--- PASS: TestKernelDeviceIsAdopted")) || bytes.Contains(out.Bytes(), []byte("--- SKIP: TestKernel")) {
		t.Error("a test of the kernel was skipped")
	}
}
