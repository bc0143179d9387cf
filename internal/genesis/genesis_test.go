package genesis

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeDaemon has the commands that a workshop uses. It fails at the n'th of them when the file fail-at says n.
const fakeDaemon = `#!/bin/sh
for last; do :; done
home="$last"
mkdir -p "$home"
n=1
while ! mkdir "$home.ran.$n" 2>/dev/null; do n=$((n + 1)); done
if [ "$n" = "$(cat "$home.fail" 2>/dev/null)" ]; then echo "Error: killed" >&2; exit 9; fi
note() { # another key of the genesis
	sed '$ s/}$/, "'"$1"'": 1}/' "$home/config/genesis.json" > "$home/noted" && mv "$home/noted" "$home/config/genesis.json"
}
case "$1 $2" in
"init workshop") mkdir -p "$home/config" && cp "$home.genesis" "$home/config/genesis.json" ;;
"keys add") [ -e "$home/key-$3" ] && { echo "Error: duplicate" >&2; exit 1; }; touch "$home/key-$3"; echo "{\"address\":\"addr-$3\"}" ;;
"genesis bulk-add-genesis-account") [ -e "$home.old" ] && exit 1; note funded ;;
"genesis add-genesis-account") note "one $3 $4" ;;
"genesis gentx") while [ "$1" != --output-document ]; do shift; done; echo tx > "$2" ;;
"genesis collect-gentxs") for tx in "$home/config/gentx"/*; do note "${tx##*/}"; done ;;
*) echo "Error: unknown $*" >&2; exit 1 ;;
esac
`

const initGenesis = `{"app_state":{"slashing":{"params":{"signed_blocks_window":"100","min_signed_per_window":"0.5","x":"y"}},"bank":{}}}`

func workshop(t *testing.T) Workshop {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "faked"), []byte(fakeDaemon), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "work.genesis"), []byte(initGenesis), 0o600))
	return Workshop{Dir: filepath.Join(dir, "work"), Binary: filepath.Join(dir, "faked"), ChainID: "c-1", Denom: "uprac"}
}

var validators = []Validator{{Name: "w1", Consensus: make([]byte, 32), NodeID: "a", Stake: 100}, {Name: "validator", Consensus: make([]byte, 32), NodeID: "b", Stake: 90}}

func TestMake(t *testing.T) {
	w := workshop(t)
	b, err := w.Make(t.Context(), validators)
	must(t, err)
	for _, want := range []string{"funded", "w1.json", "validator.json", `"10000"`, `"0.050000000000000000"`, `"x": "y"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	// A finished genesis is for ever, whoever asks.
	again, err := w.Make(t.Context(), validators[:1])
	if err != nil || string(again) != string(b) {
		t.Errorf("made again: %v", err)
	}
	addresses, err := w.Addresses()
	if err != nil || addresses["w1"] != "addr-w1" || len(addresses) != 2 {
		t.Errorf("%v, %v", addresses, err)
	}
}

// TestBegin: a network begins after it was made, when its daemons had time to start.
func TestBegin(t *testing.T) {
	before := time.Now()
	b, err := workshop(t).Make(t.Context(), validators)
	must(t, err)
	var g struct {
		Time time.Time `json:"genesis_time"`
	}
	must(t, json.Unmarshal(b, &g))
	if g.Time.Before(before.Add(lead)) || g.Time.After(time.Now().Add(lead)) {
		t.Errorf("made after %s, it begins at %s", before, g.Time)
	}
}

// timeless is a genesis without its time.
func timeless(t *testing.T, genesis []byte) string {
	t.Helper()
	var doc map[string]json.RawMessage
	must(t, json.Unmarshal(genesis, &doc))
	delete(doc, "genesis_time")
	b, err := json.Marshal(doc)
	must(t, err)
	return string(b)
}

// Killed at any command, a workshop makes the same genesis when it is asked again.
func TestMakeCrash(t *testing.T) {
	w := workshop(t)
	want, err := w.Make(t.Context(), validators)
	must(t, err)
	for n := 1; ; n++ {
		w := workshop(t)
		must(t, os.WriteFile(w.Dir+".fail", []byte{byte('0' + n)}, 0o600))
		_, err := w.Make(t.Context(), validators)
		if _, ranErr := os.Stat(w.Dir + ".ran." + strconv.Itoa(n)); errors.Is(ranErr, os.ErrNotExist) {
			must(t, err)
			return // it ended before the crash was due
		}
		must(t, os.Remove(w.Dir+".fail"))
		if err == nil {
			continue // the one command that has another to take its place
		}
		if _, err := os.Stat(w.path("genesis.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("crash %d: there is a genesis, %v", n, err)
		}
		got, err := w.Make(t.Context(), validators)
		if err != nil || timeless(t, got) != timeless(t, want) {
			t.Errorf("crash %d: %v\n%s", n, err, got)
		}
	}
}

// Daemons older than SDK 0.50 have no bulk command.
func TestOldDaemon(t *testing.T) {
	w := workshop(t)
	must(t, os.WriteFile(w.Dir+".old", nil, 0o600))
	b, err := w.Make(t.Context(), validators)
	if err != nil || !strings.Contains(string(b), "one addr-w1 1000000000uprac") || !strings.Contains(string(b), "one addr-validator 900000000uprac") {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestPracticeParams(t *testing.T) {
	for name, g := range map[string]string{"no slashing": `{"app_state":{"bank":{}}}`, "other shape": `{"app_state":{"slashing":[]}}`} {
		if b, err := practiceParams([]byte(g)); err != nil || string(b) != g {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	for _, g := range []string{"", "{", "[]", `{"app_state":1}`} {
		if _, err := practiceParams([]byte(g)); err == nil {
			t.Errorf("%q was taken for a genesis", g)
		}
	}
	b, err := practiceParams([]byte(`{"big":12345678901234567890,"app_state":{"slashing":{"params":{}},"n":1e400}}`))
	if err != nil || !strings.Contains(string(b), "12345678901234567890") || !strings.Contains(string(b), "1e400") || !json.Valid(b) {
		t.Errorf("numbers are not kept as they are: %s, %v", b, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
