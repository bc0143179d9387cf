package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/takeover"
)

// TestTakenOver: how far a takeover is is read from its journal, and a journal that cannot be understood is not none.
func TestTakenOver(t *testing.T) {
	order := takeover.Order{Deployment: "hub", Host: "h", Unit: "cosmos.service"}
	journal, err := json.Marshal(map[string]any{"phase": takeover.Moving, "order": order, "was": map[string]any{"running": true}, "trouble": "someone\x1b[2J"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		says  string
		phase takeover.Phase
		ok    bool
	}{
		"none":     {"{}\n", takeover.None, true},
		"moving":   {string(journal), takeover.Moving, true},
		"no phase": {`{"phase": "flying"}`, "", false},
		"torn":     {string(journal[:20]), "", false},
		"nothing":  {"", "", false},
	} {
		p, h := stands(t, roster.RoleValidator, func(line string, out io.Writer) {
			if !strings.Contains(line, "takeover.json") {
				t.Errorf("it runs %s", line)
			}
			_, _ = io.WriteString(out, tt.says)
		})
		st, err := p.TakenOver(t.Context(), h)
		if (err == nil) != tt.ok || tt.ok && st.Phase != tt.phase || strings.Contains(st.Trouble, "\x1b") || tt.phase == takeover.Moving && st.Order.Unit != order.Unit {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

// TestTakenScripts: what is not there is no takeover, and a genesis is found where it is.
func TestTakenScripts(t *testing.T) {
	there, missing := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "missing")
	if err := os.WriteFile(there, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		script string
		args   []string
		want   string
		ok     bool
	}{
		{takenScript, []string{there}, "text", true},
		{takenScript, []string{missing}, "{}\n", true},
		{takenScript, []string{t.TempDir()}, "", false}, // it cannot be read
		{genesisScript, []string{missing, there}, "text", true},
		{genesisScript, []string{missing}, "", false},
	} {
		out, err := exec.Command("sh", append([]string{"-c", tt.script, "sh"}, tt.args...)...).Output()
		if string(out) != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q of %v: %q, %v", tt.script, tt.args, out, err)
		}
	}
}

// TestTakenGenesis: a genesis is taken only if it is the one that was joined.
func TestTakenGenesis(t *testing.T) {
	p, h := stands(t, roster.RoleValidator, func(_ string, out io.Writer) { _, _ = io.WriteString(out, "{}") })
	sum := sha256.Sum256([]byte("{}"))
	if got, err := p.TakenGenesis(t.Context(), h, takeover.Order{Home: "/home/x", Genesis: hex.EncodeToString(sum[:])}); err != nil || string(got) != "{}" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := p.TakenGenesis(t.Context(), h, takeover.Order{Home: "/home/x", Genesis: "another"}); err == nil {
		t.Error("another genesis was taken")
	}
}
