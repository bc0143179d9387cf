package machine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/systemd"
)

// Repair puts back what somebody changed of the units that a set-up made, and says what that was. It starts and stops nothing, and
// leaves alone what an administrator said about our units in the administrator's own place. While a set-up is at work it
// does nothing.
func Repair(ctx context.Context) ([]health.Finding, error) {
	lock, err := process.TryLock(lockFile, "pressenter agent")
	if held := (*process.Held)(nil); errors.As(err, &held) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	want, err := Load(Folder)
	if err != nil {
		return nil, err
	}
	var found []health.Finding
	changed, err := want.placeUnits()
	if err != nil {
		return found, err
	}
	for _, name := range changed {
		found = append(found, drift("drift-unit", unitFile(name), "was edited or removed on the machine, and was put back"))
	}
	if len(changed) > 0 {
		if err := systemd.Reload(ctx); err != nil {
			return found, err
		}
	}
	units, err := systemd.Show(ctx, AgentUnit, MeshUnit, NodeUnit, firewallUnit)
	if err != nil {
		return found, err
	}
	if units[0].Enabled == "disabled" {
		if err := systemd.Enable(ctx, AgentUnit); err != nil {
			return found, err
		}
		found = append(found, drift("drift-disabled", AgentUnit, "was disabled, so that nobody would have looked after this host after a reboot; it is enabled again"))
	}
	found = append(found, overruled(units)...)
	was, err := bootFirewall(ctx)
	for _, w := range was {
		found = append(found, drift("drift-firewall", unitFile(firewallUnit), w+" on the machine, and was put back"))
	}
	return found, err
}

// RepairFolders is Repair for whose the folders are and what may be done with them.
func RepairFolders() (found []health.Finding) {
	for _, f := range folders {
		was, err := f.settle()
		if err != nil {
			found = append(found, health.Finding{
				Code: "drift-folder", Severity: health.Critical, Subject: f.path,
				Message: fmt.Sprintf("%s is not as it should be, and cannot be made so: %v.", f.path, err),
				Next:    "Mend the cause, or run 'pressenter apply', which sets the machine up again.",
			})
			continue
		}
		if was != "" {
			found = append(found, drift("drift-folder", f.path, was+", and was put right"))
		}
	}
	return found
}

// overruled says what an administrator's own files say otherwise than ours.
func overruled(units []systemd.Unit) (found []health.Finding) {
	for _, u := range units {
		var why string
		switch {
		case u.Masked():
			why = "is masked, so it does not start"
		case u.Fragment != "" && u.Fragment != unitFile(u.Name):
			why = "is read from " + u.Fragment + " instead"
		case len(u.DropIns) > 0:
			why = "is changed by " + strings.Join(u.DropIns, ", ")
		default:
			continue
		}
		found = append(found, health.Finding{
			Code: "unit-overruled", Severity: health.Warning, Subject: u.Name, Message: fmt.Sprintf("%s %s.", u.Name, why),
			Next: fmt.Sprintf("If that is not wanted: 'systemctl revert %s' or 'systemctl unmask %s' on the machine.", u.Name, u.Name),
		})
	}
	return found
}

func drift(code, subject, what string) health.Finding {
	return health.Finding{
		Code: code, Severity: health.Warning, Subject: subject, Since: time.Now().UTC(),
		Message: subject + " " + what + ".", Next: "Find out who changed it: nothing of this tool does.",
	}
}
