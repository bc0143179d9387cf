package agent

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// shownChain is a chain as a node shows it: its blocks are made every blockTime, and the node has that one which was the
// newest at shows.
type shownChain struct {
	blockTime time.Duration
	begun     time.Time
	shows     func() time.Time
}

func (c shownChain) RoundTrip(r *http.Request) (*http.Response, error) {
	var result string
	newest := int64(c.shows().Sub(c.begun)/c.blockTime) + 100
	at := func(height int64) string {
		return c.begun.Add(time.Duration(height-100) * c.blockTime).Format(time.RFC3339Nano)
	}
	address := strings.Repeat("AB", 20)
	switch r.URL.Path {
	case "/status":
		result = fmt.Sprintf(`{"node_info":{"id":%q,"network":"practice-1"},"sync_info":{"latest_block_height":"%d","latest_block_time":%q}}`,
			nodeID("f"), newest, at(newest))
	case "/validators":
		result = fmt.Sprintf(`{"total":"1","validators":[{"address":%q}]}`, address)
	case "/commit":
		var height int64
		if _, err := fmt.Sscan(r.FormValue("height"), &height); err != nil {
			return nil, err
		}
		result = fmt.Sprintf(`{"canonical":true,"signed_header":{"header":{"height":"%d","time":%q},"commit":{"height":"%d","signatures":[{"block_id_flag":1}]}}}`,
			height, at(height), height)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"jsonrpc":"2.0","id":-1,"result":` + result + `}`))}, nil
}

// A watch lasts nearly as long as its blocks took, by what their headers say; and on a network that is nobody's to practise on
// as long as a node may be behind. At its end none of the blocks that count is from before it.
func TestWatchLasts(t *testing.T) {
	for name, tt := range map[string]struct {
		told, blockTime time.Duration
		late            func(since time.Duration) time.Duration // how late the node is, that long after the watch began
		least, most     time.Duration
	}{
		"practice":                            {time.Second, time.Second, nil, 27 * time.Second, 40 * time.Second},
		"a network that is there":             {0, 6 * time.Second, nil, 156 * time.Second, 220 * time.Second},
		"a quick one":                         {0, 400 * time.Millisecond, nil, staleAfter, 130 * time.Second},
		"a node that is late and catches up":  {0, time.Second, func(d time.Duration) time.Duration { return max(0, 110*time.Second-60*d) }, staleAfter, 130 * time.Second},
		"a node that is late for ever":        {0, time.Second, func(time.Duration) time.Duration { return 110 * time.Second }, 139 * time.Second, 150 * time.Second},
		"a slow one, and a late node":         {0, 6 * time.Second, func(d time.Duration) time.Duration { return max(0, 110*time.Second-60*d) }, 156 * time.Second, 220 * time.Second},
		"blocks slower than what was told us": {time.Second, 6 * time.Second, nil, 156 * time.Second, 220 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := newValidator(t)
			r.run.daemon = true
			r.next(t, func(n *roster.Roster) { n.Chain.BlockTime = tt.told })
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				c := shownChain{tt.blockTime, begun.Add(-time.Hour), func() time.Time {
					if tt.late == nil {
						return time.Now()
					}
					return time.Now().Add(-tt.late(time.Since(begun)))
				}}
				w := witness{r.host, &comet.Client{URL: "http://node", HTTP: &http.Client{Transport: c}}}
				p, err := r.watchSilence(t.Context(), w, strings.Repeat("AB", 20))
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took < tt.least || took > tt.most || p.Until-p.From+1 < signing.SilentBlocks {
					t.Errorf("it took %v for %d blocks", took, p.Until-p.From+1)
				}
			})
		})
	}
}
