package machine

import (
	"context"
	"strings"

	"github.com/pressenter/pressenter/internal/health"
)

// clocks are what keeps a clock right, by the names of their units.
var clocks = []string{
	"chrony.service", "chronyd.service", "systemd-timesyncd.service", "ntp.service", "ntpsec.service", "ntpd.service", "openntpd.service",
}

// keepTime has something set the clock by the network's. What does so already stays.
func keepTime(ctx context.Context, r *Report) error {
	if activeUnit(ctx, clocks...) != "" {
		return nil
	}
	const unit = "systemd-timesyncd.service"
	if unitState(ctx, unit, "LoadState") != "loaded" {
		if err := install(ctx, "systemd-timesyncd"); err != nil {
			r.Findings = append(r.Findings, missing("systemd-timesyncd", "Nothing sets the clock of this machine", err))
			return nil
		}
		r.note("package systemd-timesyncd")
	}
	if unitState(ctx, unit, "UnitFileState") != "enabled" {
		r.note("%s enabled", unit)
	}
	if _, err := output(ctx, "systemctl", "enable", "--now", "--quiet", unit); err != nil {
		return err
	}
	if unitState(ctx, unit, "ActiveState") != "active" {
		r.Findings = append(r.Findings, clockFinding(unitState(ctx, unit, "ConditionResult") == "no"))
	}
	return nil
}

func clockFinding(container bool) health.Finding {
	if container {
		return health.Finding{
			Code: "clock-of-another", Severity: health.Info, Subject: "clock",
			Message: "This machine is a container: its clock is that of the computer that it runs on, and has to be kept right there.",
		}
	}
	return health.Finding{
		Code: "clock-unkept", Severity: health.Warning, Subject: "clock", Message: "Nothing sets the clock of this machine.",
		Next: "See 'systemctl status systemd-timesyncd' on the machine.",
	}
}

// checkTime says whether something keeps the clock.
func checkTime(ctx context.Context) []health.Finding {
	if activeUnit(ctx, clocks...) != "" {
		return nil
	}
	return []health.Finding{clockFinding(unitState(ctx, "systemd-timesyncd.service", "ConditionResult") == "no")}
}

// unitState is one of a unit's properties; empty if it cannot be told.
func unitState(ctx context.Context, unit, property string) string {
	said, _ := output(ctx, "systemctl", "show", "--property="+property, "--value", unit)
	return strings.TrimSpace(said)
}
