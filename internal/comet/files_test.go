package comet

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSignState(t *testing.T) {
	got, err := ReadSignState(write(t, `{"height":"28","round":0,"step":3,"signature":"eA==","signbytes":"AA"}`))
	if diff := cmp.Diff(SignState{Height: 28, Step: 3}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := ReadSignState(write(t, `{"height":"2`)); err == nil {
		t.Error("a torn file is no state")
	}
	if _, err := ReadSignState(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want not exist", err)
	}
}

func TestReadUpgradeInfo(t *testing.T) {
	for _, content := range []string{
		`{"name":"v2","time":"0001-01-01T00:00:00Z","height":30,"info":"{}"}`,
		`{"name":"v2","height":"30","info":"{}"}`,
	} {
		got, err := ReadUpgradeInfo(write(t, content))
		if diff := cmp.Diff(UpgradeInfo{Name: "v2", Height: 30, Info: "{}"}, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", content, err, diff)
		}
	}
}

func TestReadAddrBook(t *testing.T) {
	got, err := ReadAddrBook(write(t, `{"key":"c0","addrs":[{"addr":{"id":"a1","ip":"10.0.0.1","port":26656},
"src":{"id":"b2","ip":"10.0.0.2","port":26656},"buckets":[1],"attempts":0,"bucket_type":1},
{"addr":{"id":"a2","ip":"::1","port":1}}]}`))
	want := []KnownAddress{{ID: "a1", Address: "10.0.0.1:26656", SourceID: "b2", Source: "10.0.0.2:26656"}, {ID: "a2", Address: "[::1]:1"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestReadNodeID(t *testing.T) {
	// The id is what CometBFT's own command shows for this key.
	got, err := ReadNodeID(write(t, nodeKey))
	if got != nodeKeyID || err != nil {
		t.Errorf("%q, %v; want %q", got, err, nodeKeyID)
	}
	if _, err := ReadNodeID(write(t, `{"priv_key":{"type":"x","value":"AA=="}}`)); err == nil {
		t.Error("a byte is no key")
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte(`{"addrs":[{"addr":{"id":"a1","ip":"10.0.0.1","port":26656}}]}`))
	f.Add([]byte(`{"name":"v2","time":"0001-01-01T00:00:00Z","height":30}`))
	f.Add([]byte(`{"height":"28","round":0,"step":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var book addrBookJSON
		if json.Unmarshal(b, &book) == nil && len(book.known()) != len(book.Addrs) {
			t.Error("addresses were lost")
		}
		var u UpgradeInfo
		_ = json.Unmarshal(b, &u)
		var s SignState
		_ = json.Unmarshal(b, &s)
	})
}

// The key of a seed of zeros.
const (
	nodeKey   = `{"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA7aie8zrakLWKjqNAqbw1zZTIVdx3iQ6Y6wEihi1naKQ=="}}`
	nodeKeyID = "139e3940e64b5491722088d9a0d741628fc826e0"
)
