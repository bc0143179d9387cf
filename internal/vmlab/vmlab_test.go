package vmlab

import (
	"context"
	"sync"
	"testing"
)

var kernel = sync.OnceValues(func() (*VM, error) { return Prepare(context.Background(), func(string, ...any) {}) })

// prepared returns a machine, or skips t where there can be none.
func prepared(t *testing.T) *VM {
	t.Helper()
	Skip(t)
	vm, err := kernel()
	if err != nil {
		t.Skipf("test machines need a kernel: %v", err)
	}
	return vm
}
