package p2p

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The seed knows s2, s2 knows s3, and s3 knows the validator, which nobody may dial.
func TestCrawl(t *testing.T) {
	far := hidden + "@10.9.0.1:26656"
	s3 := startNode(t, nodeSettings{inbound: 10, period: quickPeriod, knows: []string{far}})
	s2 := startNode(t, nodeSettings{inbound: 10, period: quickPeriod, knows: []string{s3.addr}})
	seed := startNode(t, nodeSettings{inbound: 10, period: quickPeriod, knows: []string{s2.addr}})
	gone := freeAddr(t)
	r, err := Crawl(t.Context(), []string{seed.host, gone}, Options{Stranger: quick, Period: 3 * quickPeriod})
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		Asked         string
		Depth, Asks   int
		Told, Outcome string
	}
	var got []line
	for _, a := range r.Answers {
		got = append(got, line{a.Asked, a.Depth, a.Asks, fmt.Sprint(a.Addresses), string(a.Outcome)})
		if a.Asks > 0 && (a.Period < 3*quickPeriod || a.Largest != 1) {
			t.Errorf("%s: asked over %s, at most %d addresses at once", a.Asked, a.Period, a.Largest)
		}
	}
	want := []line{
		{seed.host, 0, 3, fmt.Sprintf("[%s]", s2.addr), "welcome"},
		{s2.addr, 1, 3, fmt.Sprintf("[%s]", s3.addr), "welcome"},
		{s3.addr, 2, 3, fmt.Sprintf("[%s]", far), "welcome"},
		{gone, 0, 0, "[]", "refused"},
	}
	byAsked := func(a, b line) int { return strings.Compare(a.Asked, b.Asked) }
	slices.SortFunc(want, byAsked)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	skipped := []Skipped{{Address{hidden, "10.9.0.1", 26656}, s3.addr, "not allowed"}}
	if diff := cmp.Diff(skipped, r.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
}

// A node in seed mode hangs up after each answer, and is dialed again.
func TestCrawlOfSeedNode(t *testing.T) {
	far := known + "@" + freeAddr(t)
	n := startNode(t, nodeSettings{inbound: 10, seedMode: true, knows: []string{far}})
	r, err := Crawl(t.Context(), []string{n.addr}, Options{Stranger: quick, Period: 3 * quickPeriod, MaxDepth: -1})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Answers[0]
	if a.Asks != 3 || a.Outcome != Welcome || fmt.Sprint(a.Addresses) != "["+far+"]" {
		t.Errorf("got %+v, want three answers with %s", a, far)
	}
}

func TestCrawlStaysInItsLimits(t *testing.T) {
	s2 := startNode(t, nodeSettings{inbound: 10, knows: []string{known + "@127.0.0.1:7001"}})
	s1 := startNode(t, nodeSettings{inbound: 10, knows: []string{s2.addr}})
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"depth", Options{MaxDepth: -1}, "too many steps from a seed"},
		{"nodes", Options{MaxNodes: 1}, "enough nodes"},
		{"allowed", Options{Allow: func(Address) bool { return false }}, "not allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Asks = 1
			r, err := Crawl(t.Context(), []string{s1.addr}, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Answers) != 1 || len(r.Skipped) != 1 || r.Skipped[0].Why != tc.want {
				t.Errorf("got %+v, want one answer and one skipped: %s", r, tc.want)
			}
		})
	}
	if _, err := Crawl(t.Context(), []string{"nonsense"}, Options{}); err == nil {
		t.Error("a seed that is no address was taken")
	}
}
