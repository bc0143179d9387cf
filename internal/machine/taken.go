package machine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/systemd"
)

// takenFile is the journal of how this host's node was taken over from a unit that somebody else made.
const takenFile = Folder + "/agent/takeover.json"

// checkTaken says whether such a unit could start again: it has no home any more, and whoever gives it one and a copy of
// the key has two programs that sign.
func checkTaken(ctx context.Context, path string) []health.Finding {
	b, err := atomicfile.Read(path, 1<<20)
	if err != nil {
		return nil // as on most hosts; what else is wrong with it is for whoever takes over
	}
	var j struct {
		Order struct {
			Unit string `json:"unit"`
		} `json:"order"`
	}
	if json.Unmarshal(b, &j) != nil || j.Order.Unit == "" {
		return nil
	}
	u, err := systemd.Show(ctx, j.Order.Unit)
	if err != nil || u[0].Masked() {
		return nil
	}
	return []health.Finding{{
		Code: "old-unit", Severity: health.Critical, Subject: j.Order.Unit,
		Message: fmt.Sprintf("%s, from which this node was taken over, is %s and %s: nothing keeps it from being started beside this one.", j.Order.Unit, u[0].Load, u[0].Active),
		Next:    "Run 'systemctl stop " + j.Order.Unit + "', move its file away and run 'systemctl mask " + j.Order.Unit + "'.",
	}}
}
