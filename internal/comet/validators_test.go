package comet

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestInValidatorSet(t *testing.T) {
	// 150 validators on two pages; page 2 has the one that is asked for.
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, to := 0, 100
		if r.URL.Query().Get("page") == "2" {
			from, to = 100, 150
		}
		fmt.Fprint(w, `{"jsonrpc":"2.0","result":{"total":"150","validators":[`)
		for i := from; i < to; i++ {
			if i > from {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, `{"address":"%040X"}`, i)
		}
		fmt.Fprint(w, `]}}`)
	}))
	defer srv.Close()
	c := &Client{URL: srv.URL}
	for address, want := range map[string]bool{
		fmt.Sprintf("%040X", 0): true, fmt.Sprintf("%040x", 0xABCDEF): false, fmt.Sprintf("%040x", 149): true, "": false,
	} {
		got, err := c.InValidatorSet(t.Context(), 7, address)
		if err != nil || got != want {
			t.Errorf("address %q: %v, %v, want %v", address, got, err, want)
		}
	}
}
