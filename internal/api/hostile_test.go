package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/pressenter/pressenter/internal/health"
)

// Nothing that a host says, as an answer or as a problem, does anything to the terminal of who asked it.
func TestHostsWordsArePlain(t *testing.T) {
	const hostile = "fine\r\x1b[2K\x1b]0;owned\x07\u202e\u009b1A all is well"
	status := HostStatus{Name: hostile, Reason: hostile, Findings: []health.Finding{{Code: hostile, Message: hostile, Next: hostile}}}
	status.Node.Phase = hostile
	refuse := false
	dir := t.TempDir()
	serveIn(t, dir, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuse {
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(Problem{Error: hostile, Hint: hostile, Code: "conflict"})
			return
		}
		_ = json.NewEncoder(w).Encode(status)
	}))
	c := Dial("s1", dir)
	defer c.Close()
	st, err := c.Status(t.Context())
	must(t, err)
	refuse = true
	_, err = c.Status(t.Context())
	var problem *Error
	if !errors.As(err, &problem) {
		t.Fatal(err)
	}
	said := []string{st.Name, st.Reason, st.Node.Phase, st.Findings[0].Code, st.Findings[0].Message, st.Findings[0].Next, err.Error(), problem.Hint}
	for i, s := range said {
		if !strings.Contains(s, "all is well") || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%d: %q", i, s)
		}
	}
}

// A key of another length is an error and no crash of who asked: an operator's apply has other hosts to see to.
func TestKeysThatAreNone(t *testing.T) {
	right := make([]byte, 32)
	var answer any
	dir := t.TempDir()
	serveIn(t, dir, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(answer) }))
	c := Dial("s1", dir)
	defer c.Close()
	for name, e := range map[string]Enrolled{
		"no identity": {}, "short identity": {Identity: right[1:]}, "long mesh key": {Identity: right, MeshKey: append(right, 0)},
		"relays": {Identity: right, MeshTLS: right[1:]}, "next": {Identity: right, NextMeshKey: right[1:]}, "consensus": {Identity: right, Consensus: right[1:]},
	} {
		answer = HostStatus{Enrolled: &e}
		if _, err := c.Status(t.Context()); err == nil {
			t.Errorf("status with %s was taken", name)
		}
		answer = e
		if _, err := c.Enroll(t.Context(), EnrollRequest{}); err == nil {
			t.Errorf("enrolment with %s was taken", name)
		}
	}
	answer = HostStatus{Enrolled: &Enrolled{Identity: right, MeshKey: right}}
	if _, err := c.Status(t.Context()); err != nil {
		t.Error(err)
	}
}
