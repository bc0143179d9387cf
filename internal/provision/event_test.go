package provision

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// What tools print is read as it should be; what is not known, or no event, is passed over.
func TestEventsGolden(t *testing.T) {
	s := &stream{path: filepath.Join("testdata", "stream.jsonl")}
	defer s.close()
	events, err := s.more()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(events, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "stream.golden")
	if *update {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"panic: runtime error: the tool itself broke"}, s.odd); diff != "" {
		t.Error(diff)
	}
}

func TestOtherStreamVersion(t *testing.T) {
	if _, _, err := parse([]byte(`{"type":"version","ui":"2.0"}`)); err == nil || !strings.Contains(err.Error(), `"2.0"`) {
		t.Errorf("version 2: %v", err)
	}
	for _, ok := range []string{`{"type":"version","ui":"1.99"}`, `{"type":"brand_new","ui":"2.0"}`, `{`, "", "x", `{"type":7}`} {
		if _, known, err := parse([]byte(ok)); known || err != nil {
			t.Errorf("%s: %v, %v", ok, known, err)
		}
	}
}

// A journal is read the same in one piece or in many, and its end may be cut off.
func TestStreamGrows(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "stream.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	all := &stream{path: filepath.Join("testdata", "stream.jsonl")}
	defer all.close()
	want, err := all.more()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stream")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &stream{path: path}
	defer s.close()
	var got []Event
	for i := 0; i < len(whole); i += 97 {
		if _, err := f.Write(whole[i:min(i+97, len(whole))]); err != nil {
			t.Fatal(err)
		}
		events, err := s.more()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "stream.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, known, err := parse(b)
		if err != nil && known {
			t.Error("an event and an error")
		}
		if known && e.Severity == "" && e.State == Word && e.Message == "" && !strings.Contains(string(b), "log") {
			t.Errorf("%q says nothing: %+v", b, e)
		}
		l := newLedger(fleet("hetzner", 0))
		l.replay([]Event{e, e})
		_, _ = hostOf(e.Address), typeOf(e.Address)
	})
}

func FuzzReadPlan(f *testing.F) {
	f.Add([]byte(`{"format_version":"1.2","x":[1,{}],"resource_changes":[{"address":"module.a.b.c[\"d\"]","mode":"managed","type":"b","change":{"actions":["delete","create"],"before":null,"replace_paths":[["a",0]]}}]}`))
	f.Add([]byte(`{"format_version":"2.0"}`))
	f.Add([]byte(`{"resource_changes":null}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = read(strings.NewReader(string(b)))
	})
}
