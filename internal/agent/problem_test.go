package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
)

// An error loses its type on its way over the socket, so what to do about a full disk goes with it in words.
func TestFullDiskIsSaid(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("enrol %q: %w", "w1", syscall.ENOSPC),
		errors.New("run practiced init: exit code 1: write genesis.json: no space left on device"),
	} {
		w := httptest.NewRecorder()
		writeProblem(w, err)
		var p api.Problem
		must(t, json.Unmarshal(w.Body.Bytes(), &p))
		if !strings.Contains(p.Hint, "the disk is full") || p.Error != err.Error() {
			t.Errorf("%v is told as %+v", err, p)
		}
	}
}
