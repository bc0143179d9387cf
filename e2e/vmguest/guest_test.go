//go:build linux

// Package vmguest holds the tests that are only for a test machine of internal/vmlab, because they move the clock and
// change the whole network. TestVM… of package e2e run them there.
package vmguest

import (
	"os"
	"testing"
)

// Variables of the environment in a test machine.
const (
	insideEnv = "PRESSENTER_VM"       // set in there and nowhere else
	clockEnv  = "PRESSENTER_VM_CLOCK" // when it was to boot, in seconds since 1970
)

// inside skips t on any other machine.
func inside(t *testing.T) {
	t.Helper()
	if os.Getenv(insideEnv) == "" {
		t.Skip("this changes the clock and the network of its machine; run it in one of its own with: go test ./e2e -e2e -run VM")
	}
}
