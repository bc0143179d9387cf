package e2e

import (
	"os"
	"testing"
)

// theShared is a network that tests which leave it as they found it have in common: two sentries, everything up,
// signing. They run one after the other.
var theShared struct {
	*network
	up said
}

// shared brings the common network up if need be. A test that fails leaves it to nobody.
func shared(t *testing.T) *network {
	t.Helper()
	need(t)
	if theShared.network == nil {
		base, err := os.MkdirTemp(workshop, "shared-")
		if err != nil {
			t.Fatal(err)
		}
		n := folderFor(t, base, "net")
		theShared.network = n
		t.Cleanup(func() { n.leave(t) })
		theShared.up = n.does(t, "up", "--yes")
		return n
	}
	n := theShared.network
	t.Cleanup(func() { n.leave(t) })
	return n
}

// leave hands the common network on, or ends it after a failure.
func (n *network) leave(t *testing.T) {
	if t.Failed() {
		n.end(t)
		theShared.network = nil
	}
}
