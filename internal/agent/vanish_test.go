package agent

import (
	"os"
	"slices"
	"testing"

	"github.com/pressenter/pressenter/internal/process"
)

// While a folder is being deleted its locks go first, by which processes are found. Who was seen has to stay known, or
// nobody ends it once the folder is gone.
func TestSeenStaysSeenWhileItLives(t *testing.T) {
	k := newKeeper(t)
	living, err := process.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	dead := process.Identity{PID: living.PID}
	k.see(living)
	k.see(living)
	k.see(dead)
	if _, err := k.look(); err != nil {
		t.Log(err) // the host is not enrolled
	}
	if !slices.Equal(k.seen, []process.Identity{living}) {
		t.Errorf("seen: %v, want %v", k.seen, living)
	}
}
