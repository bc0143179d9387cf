package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// What a host's node sees of a key counts a vote for nothing as a signature, and an answer of another node, of another chain
// or of yesterday as none.
func TestSees(t *testing.T) {
	address := strings.Repeat("AB", 20)
	node := struct {
		id, chain  string
		at         time.Time
		catchingUp bool
		flag       int
		voters     string
	}{nodeID("f"), "practice-1", time.Now(), false, 1, address}
	rpc := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var result string
		switch r.URL.Path {
		case "/status":
			result = fmt.Sprintf(`{"node_info":{"id":%q,"network":%q},"sync_info":{"latest_block_height":"9","latest_block_time":%q,"catching_up":%v}}`,
				node.id, node.chain, node.at.Format(time.RFC3339Nano), node.catchingUp)
		case "/validators":
			result = fmt.Sprintf(`{"total":"1","validators":[{"address":%q}]}`, node.voters)
		case "/commit":
			result = fmt.Sprintf(`{"canonical":true,"signed_header":{"header":{},"commit":{"height":%q,"signatures":[{"block_id_flag":%d,"validator_address":%q}]}}}`,
				r.FormValue("height"), node.flag, address)
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":-1,"result":%s}`, result)
	}))
	t.Cleanup(rpc.Close)
	r := newValidator(t)
	r.host.Enrollment.Listen.RPC = strings.TrimPrefix(rpc.URL, "http://")
	c := serveAgent(t, r.keeper)
	for flag, signed := range map[int]bool{1: false, 2: true, 3: true} {
		node.flag = flag
		seen, err := c.Seen(t.Context(), address, 8)
		if err != nil || seen.Signed != signed || !seen.InSet || seen.Height != 9 {
			t.Errorf("flag %d: %+v, %v", flag, seen, err)
		}
	}
	if seen, err := c.Seen(t.Context(), address, 9); err != nil || seen.Signed { // it can still gain signatures
		t.Errorf("the newest: %+v, %v", seen, err)
	}
	node.voters = strings.Repeat("CD", 20)
	if seen, err := c.Seen(t.Context(), address, 0); err != nil || seen.InSet || seen.Signed {
		t.Errorf("out of the set: %+v, %v", seen, err)
	}
	good := node
	for what, change := range map[string]func(){
		"another node":  func() { node.id = nodeID("e") },
		"another chain": func() { node.chain = "other-1" },
		"of yesterday":  func() { node.at = time.Now().Add(-24 * time.Hour) },
		"catching up":   func() { node.catchingUp = true },
	} {
		node = good
		change()
		if seen, err := c.Seen(t.Context(), address, 8); err == nil {
			t.Errorf("%s: %+v", what, seen)
		}
	}
	node = good
	if _, err := c.Seen(t.Context(), "nobody", 8); code(err) != "invalid" {
		t.Errorf("no address: %v", err)
	}
}
