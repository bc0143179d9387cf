package adopt

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
)

// answers is a node that answers every question alike.
type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(a)))}, nil
}

// How long a block takes is read from headers, and nothing is made of what cannot be.
func TestPace(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		newest, earliest, header int64
		ago, want                time.Duration
	}{
		"a hundred blocks": {1000, 1, 900, 550 * time.Second, 5500 * time.Millisecond},
		"fewer are kept":   {1000, 990, 990, 60 * time.Second, 6 * time.Second},
		"a young chain":    {11, 1, 1, 10 * time.Second, time.Second},
		"none before":      {1, 1, 1, time.Second, 0},
		"another height":   {1000, 1, 7, 550 * time.Second, 0},
		"back in time":     {1000, 1, 900, -time.Second, 0},
		"too slow":         {1000, 1, 900, 1000 * time.Hour, 0},
	} {
		c := &comet.Client{URL: "http://node", HTTP: &http.Client{Transport: answers(fmt.Sprintf(
			`{"result":{"signed_header":{"header":{"height":"%d","time":%q},"commit":{}},"canonical":true}}`, tt.header, now.Add(-tt.ago).Format(time.RFC3339Nano)))}}
		if got := pace(t.Context(), c, comet.Status{Height: tt.newest, Earliest: tt.earliest, Time: now}); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
