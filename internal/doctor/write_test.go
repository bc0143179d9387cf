package doctor

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// fixed is a report with each of the verdicts, a section of each kind, and words to be careful with.
func fixed() Report {
	checks := []Check{
		computer.ok(CodeProgram, "this program", "pressenter v1.2.3, linux/amd64"),
		folder.critical(CodeDisk, "the disk is full, or nearly so: nodes stop when nothing can be written", "12 MiB free of 50 GiB", "free some space"),
		computer.warning(CodeClockSync, "nobody keeps this computer's clock right", "", keepTime),
		about{"s1"}.info(CodeNode, "its node is down: stopped by ann@desk", "stopped", "'pressenter start s1' brings it back"),
		about{"s1"}.notChecked(CodePort, "the p2p port 127.0.0.1:26656 is in use; whether by the node is not known", ""),
		about{"validator"}.critical(CodeHidden, "the validator is not hidden; what follows says who knows it", "asked s1, s2 as strangers: 8 answers in 46.6s", "do what is said below"),
		about{"s1"}.critical("hiding-answers", "it tells strangers of the validator: its id 00ff", "4 answers in 46.3s, 5 addresses", "name the validator in private_peer_ids"),
		about{Deployment}.info("hiding-scope", "nodes that were not asked may know more", "", ""),
	}
	return NewReport(checks)
}

func TestGoldenText(t *testing.T) {
	var b bytes.Buffer
	r := fixed()
	if err := WriteText(&b, r.Checks, func(_ Verdict, word string) string { return word }); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n" + r.Sum() + "\n")
	golden(t, "report.txt", b.Bytes())
}

func TestGoldenJSON(t *testing.T) {
	b, err := json.MarshalIndent(fixed(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(b, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", name, d)
	}
}

// Colour must neither move nor replace a word.
func TestPaint(t *testing.T) {
	var plain, painted bytes.Buffer
	checks := fixed().Checks
	if err := WriteText(&plain, checks, func(_ Verdict, word string) string { return word }); err != nil {
		t.Fatal(err)
	}
	if err := WriteText(&painted, checks, func(_ Verdict, word string) string { return "\x1b[31m" + word + "\x1b[m" }); err != nil {
		t.Fatal(err)
	}
	stripped := strings.NewReplacer("\x1b[31m", "", "\x1b[m", "").Replace(painted.String())
	if d := cmp.Diff(plain.String(), stripped); d != "" {
		t.Errorf("without colour (-plain +painted):\n%s", d)
	}
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name   string
		checks []Check
		want   Verdict
		sum    string
	}{
		{"none", nil, OK, "nothing was looked at"},
		{"ok", []Check{{Verdict: OK}, {Verdict: OK}}, OK, "2 ok"},
		{"not checked is worse than info", []Check{{Verdict: NotChecked}, {Verdict: Info}}, NotChecked, "1 info, 1 not checked"},
		{"one critical", []Check{{Verdict: OK}, {Verdict: Critical}, {Verdict: Warning}}, Critical, "1 ok, 1 warning, 1 critical"},
	} {
		r := NewReport(tt.checks)
		if r.Worst != tt.want || r.Sum() != tt.sum || r.Checks == nil {
			t.Errorf("%s: %+v, %q, want %s, %q", tt.name, r, r.Sum(), tt.want, tt.sum)
		}
	}
}
