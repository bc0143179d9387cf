package agent

import (
	"os"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
)

// TestStopThatCannotBeWritten: a person's stop holds although the disk takes nothing, and the person is told. A start
// that cannot be written is just refused.
func TestStopThatCannotBeWritten(t *testing.T) {
	k := newKeeper(t)
	if err := os.MkdirAll(k.Folder.intent(), 0o700); err != nil { // a folder in its place cannot be replaced by a file
		t.Fatal(err)
	}
	if _, err := k.setIntent(nil, api.Intent{By: "me"}); err == nil || k.unwritten != nil {
		t.Errorf("start: %v, kept %v", err, k.unwritten)
	}
	if _, err := k.setIntent(nil, api.Intent{Stopped: true, By: "me"}); err == nil {
		t.Error("nobody was told that the stop is not durable")
	}
	if f, _ := k.look(); !f.intent.Stopped || f.intent.By != "me" {
		t.Errorf("the agent goes by %+v", f.intent)
	}
}
