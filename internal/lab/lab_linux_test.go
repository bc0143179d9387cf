package lab_test

import (
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/lab"
)

func TestBoot(t *testing.T) {
	l := lab.New(t, lab.Options{Hosts: 1})
	out, err := l.Host("h1").Exec(t.Context(), "systemctl", "is-system-running")
	if err != nil || strings.TrimSpace(string(out)) != "running" {
		t.Errorf("is-system-running: %q, %v, want running", out, err)
	}
}
