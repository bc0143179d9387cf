package agent

import (
	"testing"

	"github.com/pressenter/pressenter/internal/signing"
)

// What is seen of a host without its agent decides, too, what its files will be: a plan that does not know that the key
// is armed would restart the node for nothing.
func TestInspectTellsOfTheKey(t *testing.T) {
	r := newValidator(t)
	s := Inspect(r.Folder).Signing
	if s.State != signing.Armed || s.Address == "" || string(s.PublicKey) != string(r.host.Enrolled.Consensus) {
		t.Errorf("an armed key is told of as %+v", s)
	}
}
