package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/plan"
)

// A host's name is taken from --confirm, asked for in a terminal only, and never guessed.
func TestNameIsTyped(t *testing.T) {
	for given, ok := range map[string]bool{"": false, "validator ": false, "s1": false, "validator": true} {
		c := &cobra.Command{}
		c.SetIn(bytes.NewReader([]byte("validator\n"))) // no terminal
		c.SetOut(&bytes.Buffer{})
		p := proof{confirm: given}
		var wrong usageError
		if err := p.typed(c, "validator"); ok != (err == nil) || !ok && !errors.As(err, &wrong) {
			t.Errorf("%q: %v", given, err)
		}
	}
}

// A command that takes no proof makes no validator anew.
func TestNoProofIsNone(t *testing.T) {
	made := plan.Plan{Stages: [][]plan.Step{{plan.Enroll{On: plan.On{Deployment: "hub", Name: "validator"}, Role: "validator", Anew: true}}}}
	var none *proof
	var refusal *plan.Refusal
	if err := none.lost(&cobra.Command{}, nil, made); !errors.As(err, &refusal) {
		t.Error(err)
	}
	made.Stages[0][0] = plan.Enroll{On: plan.On{Deployment: "hub", Name: "s1"}, Role: "sentry"}
	if err := none.lost(&cobra.Command{}, nil, made); err != nil {
		t.Error(err)
	}
}
