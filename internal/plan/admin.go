package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/provision"
)

// admins are from where SSH is let in at the clouds.
func admins(i deployment.Inventory) []string {
	if len(i.AdminCIDRs) == 0 {
		return []string{"0.0.0.0/0", "::/0"}
	}
	out := slices.Clone(i.AdminCIDRs)
	for _, o := range i.Openings {
		if !slices.Contains(out, o.CIDR) {
			out = append(out, o.CIDR)
		}
	}
	return out
}

// Opened are those of all openings that are not over yet.
func Opened(all []deployment.Opening, now time.Time) (out []deployment.Opening) {
	for _, o := range all {
		if now.Before(o.Until) {
			out = append(out, o)
		}
	}
	return out
}

// SSHOpenings says who is let in by SSH for a time, of openings that last and of those that are over and were not shut.
func SSHOpenings(open, over []deployment.Opening) (out []health.Finding) {
	const next = "'pressenter open-ssh --shut' takes it back now."
	for _, o := range open {
		out = append(out, health.Finding{
			Code: "ssh-open", Severity: health.Info, Next: next,
			Message: fmt.Sprintf("SSH is let in from %s, too, at all bought machines, until %s: %s opened it.", o.CIDR, clock(o.Until), o.By),
		})
	}
	for _, o := range over {
		out = append(out, health.Finding{
			Code: "ssh-left-open", Severity: health.Warning, Next: next + " So does the next apply.",
			Message: fmt.Sprintf("SSH was let in from %s until %s, by %s, and nobody is known to have shut it again.", o.CIDR, clock(o.Until), o.By),
		})
	}
	return out
}

// openings notes who is let in for a time, and who no longer is.
func (b *builder) openings() {
	for _, o := range b.want.Own.Openings {
		b.note("SSH is let in from %s, too, until %s: %s opened it", o.CIDR, clock(o.Until), o.By)
	}
	for _, o := range b.want.Shut {
		if !Admits(b.have.Machines) {
			continue // it was noted and never done
		}
		b.note("SSH was let in from %s until %s, by %s, and nobody shut it again: apply takes it back", o.CIDR, clock(o.Until), o.By)
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04 UTC on 2 Jan") }

// Admits says whether the changes decide anew who may log in to a machine.
func Admits(changes []provision.Change) bool {
	return slices.ContainsFunc(changes, func(c provision.Change) bool {
		return c.Kind == provision.Firewall || c.Kind == provision.Server && c.Action != provision.Destroy
	})
}

// lockedOut says that the clouds' firewalls would shut out who changes them: nobody could set up a machine, or mend it.
func lockedOut(want Want, have Observed) error {
	at := have.OperatorAt
	if len(want.Own.AdminCIDRs) == 0 || !at.IsValid() || !Admits(have.Machines) {
		return nil
	}
	for _, c := range admins(want.Own) {
		if network, err := netip.ParsePrefix(c); err == nil && network.Contains(at) {
			return nil
		}
	}
	return &Refusal{
		Why:  fmt.Sprintf("you come from %s, which is in none of admin.cidrs (%s): the clouds' firewalls would let you in no more", at, strings.Join(want.Own.AdminCIDRs, ", ")),
		Next: fmt.Sprintf("add %s to admin.cidrs, or the network that you come from; or run this from an address that is in them", netip.PrefixFrom(at, at.BitLen())),
	}
}

// admins notes that nobody could check whether the operator is let in.
func (b *builder) admins() {
	if len(b.want.Own.AdminCIDRs) > 0 && !b.have.OperatorAt.IsValid() && Admits(b.have.Machines) {
		b.note("SSH is let in from %s alone; from where you come is not known here, so make sure that it is among them",
			strings.Join(b.want.Own.AdminCIDRs, ", "))
	}
}
