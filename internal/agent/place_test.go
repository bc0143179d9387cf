package agent

import (
	"os"
	"testing"
)

// A copy of a host's folder is told from the folder itself, and from one in which there is no host yet.
func TestCheckPlace(t *testing.T) {
	r := newValidator(t)
	must(t, r.Folder.CheckPlace())
	must(t, Folder(t.TempDir()).CheckPlace())
	there := Folder(t.TempDir())
	must(t, os.CopyFS(string(there), os.DirFS(string(r.Folder))))
	if err := there.CheckPlace(); err == nil || err.Error() != decide(facts{moved: true}).reason {
		t.Errorf("a copy: %v", err)
	}
}
