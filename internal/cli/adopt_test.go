package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
)

// TestGenesisIsIt: the server alone says which genesis is the network's, so somebody else has to, before it is noted.
func TestGenesisIsIt(t *testing.T) {
	s := &apply.Session{Config: config.Practice("hub"), Dir: deployment.Dir(t.TempDir()), Who: "a test"}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := &cobra.Command{}
	c.SetIn(strings.NewReader("")) // no terminal
	for name, tt := range map[string]struct {
		d  adoptCmd
		ok bool
	}{
		"nobody says it":       {adoptCmd{}, false},
		"it is said":           {adoptCmd{yes: true}, true},
		"it is given":          {adoptCmd{genesis: "AB"}, true},
		"another is given":     {adoptCmd{genesis: "ac"}, false},
		"another, and said so": {adoptCmd{genesis: "ac", yes: true}, false},
	} {
		tt.d.session = s
		if err := tt.d.isIt(c, "ab"); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Join(deployment.Adoption{Host: "validator", Genesis: "ab"}, "sim-7", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := (&adoptCmd{session: s}).isIt(c, "ab"); err != nil {
		t.Errorf("the one that was joined: %v", err)
	}
}
