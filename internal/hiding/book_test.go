package hiding

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/p2p"
)

const bookFile = `{"key": "00", "addrs": [
	{"addr": {"id": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "ip": "::ffff:10.9.0.1", "port": 26656},
	 "src": {"id": "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "ip": "203.0.113.9", "port": 26656},
	 "buckets": [1], "attempts": 0, "bucket_type": 1, "last_attempt": "2026-01-01T00:00:00Z"}]}`

func TestParseBook(t *testing.T) {
	got, err := ParseBook([]byte(bookFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Entry{{Address: val, Source: pub}}, got); diff != "" {
		t.Errorf("book (-want +got):\n%s", diff)
	}
	if got, err := ParseBook([]byte(`{"key": "00", "addrs": null}`)); err != nil || got == nil || len(got) != 0 {
		t.Errorf("empty book: %v, %v", got, err)
	}
	for _, bad := range []string{``, `[]`, `{"addrs": [{"src": null}]}`, `{"addrs": [{"addr": {"port": -1}}]}`} {
		if got, err := ParseBook([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func FuzzParseBook(f *testing.F) {
	f.Add([]byte(bookFile))
	f.Fuzz(func(t *testing.T, b []byte) {
		es, err := ParseBook(b)
		if err != nil {
			return
		}
		m := good().mark()
		for _, e := range es {
			if e.Address == (p2p.Address{ID: m.id}) && m.in(e.Address) == "" {
				t.Errorf("%+v was not recognised", e)
			}
		}
	})
}
