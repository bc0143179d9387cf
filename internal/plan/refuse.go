package plan

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/roster"
)

// Refusal is why no plan can be made, with what to do.
type Refusal struct{ Why, Next string }

// Error implements error.
func (r *Refusal) Error() string { return r.Why }

// refuse says why no plan may be made.
func refuse(want Want, have Observed) error {
	for _, s := range []side{{want: want.World, have: have.World}, {want: want.Own, have: have.Own}} {
		if err := lost(s, have.Genesis); err != nil {
			return err
		}
		if err := genesisSays(want.Chain, s.have.Head); err != nil {
			return err
		}
	}
	if err := adoptedAsItWas(want, have); err != nil {
		return err
	}
	if err := devices(want, have.Own.Head); err != nil {
		return err
	}
	if err := volumes(want, have.Own); err != nil {
		return err
	}
	if err := away(want, have.Own); err != nil {
		return err
	}
	if err := machines(want, have.Machines, have.Bought); err != nil {
		return err
	}
	if err := forgotten(want, have); err != nil {
		return err
	}
	if err := lockedOut(want, have); err != nil {
		return err
	}
	if err := unfit(have.Checks); err != nil {
		return err
	}
	if have.Own.Head == nil {
		return nil
	}
	if err := mixed(want, have); err != nil {
		return err
	}
	if err := mayReplace(want, have.Own); err != nil {
		return err
	}
	survives := len(swaps(want, have.Own)) > 0 // then it was looked at more closely
	for _, m := range have.Own.Head.Members {
		h, wanted := want.Own.Host(m.Name)
		o := have.Own.Hosts[m.Name]
		if _, invited := want.Own.InvitedHost(m.Name); m.Role == roster.RoleSentry && (wanted && o.Exists || invited) {
			survives = true
		}
		if m.Role == roster.RoleValidator && wanted && h.Role == m.Role && !o.Exists && !want.ReplaceLost {
			return &Refusal{
				Why:  fmt.Sprintf("host %q is in the roster and holds the consensus key, but its folder %q is gone", m.Name, h.Folder),
				Next: "bring the folder back; or, if it is lost for ever, run 'pressenter apply --replace-lost' and restore the key with 'pressenter key restore'",
			}
		}
		if m.Role == roster.RoleValidator && wanted && h.Role == m.Role && o.Exists && bare(o, have.Own.Head) && !want.ReplaceLost {
			return notAsItWas(m.Name, "is not enrolled and has another key or none")
		}
		if m.Role == roster.RoleValidator && wanted && h.Role == m.Role && stranger(o, m, have.Own.Head) && !want.ReplaceLost {
			return notAsItWas(m.Name, "was made anew and has another key or none")
		}
	}
	if !survives && sentries(have.Own.Head) > 0 {
		return &Refusal{
			Why:  "no sentry would stay: the validator would be cut off until it is restarted",
			Next: "add the new sentries first and apply, then remove the old ones and apply again",
		}
	}
	return nil
}

// notAsItWas refuses a validator's host that is not the one that it was.
func notAsItWas(name, what string) error {
	return &Refusal{
		Why:  fmt.Sprintf("host %q is in the roster and holds the consensus key, but what is there now %s", name, what),
		Next: "bring the host back as it was; or, if that is lost for ever, run 'pressenter apply --replace-lost' and restore the key with 'pressenter key restore'",
	}
}

// stranger says whether a validator's host is another one than the member of the roster, and does not hold the deployment's key:
// one that was made anew by an apply that was cut off before the roster had it.
func stranger(o ObservedHost, m roster.Member, head *roster.Roster) bool {
	e := o.Status.Enrolled
	return o.Away == "" && e != nil && !bytes.Equal(e.Identity, m.Identity[:]) && !head.Signer.PubKey.IsZero() && !hasKey(o, head)
}

// bare says whether a validator's host would bear its keys now, although the deployment has one: it was made anew, by an apply
// that was cut off or by a person, or lost what says who it is.
func bare(o ObservedHost, head *roster.Roster) bool {
	return o.Away == "" && o.Status.Enrolled == nil && !head.Signer.PubKey.IsZero() && !hasKey(o, head)
}

// away says which machines cannot be reached, of those that the plan is about.
func away(want Want, have ObservedDeployment) error {
	var why []string
	next := "bring it back; or, if it is a sentry that is lost for ever, 'pressenter replace' it or take it out of the config; what runs goes on meanwhile"
	for _, name := range slices.Sorted(maps.Keys(have.Hosts)) {
		if _, wanted := want.Own.Host(name); wanted && have.Hosts[name].Away != "" {
			why = append(why, fmt.Sprintf("%s cannot be reached: %s", name, have.Hosts[name].Away))
			if h := have.Hosts[name].Host; h.Role == roster.RoleValidator {
				next = nextOfLostValidator(h)
			}
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &Refusal{Why: strings.Join(why, "; "), Next: next}
}

// nextOfLostValidator is what to do where a validator's machine cannot be reached: that it is lost nobody knows from here.
func nextOfLostValidator(h deployment.Host) string {
	if h.Bought() {
		return fmt.Sprintf("bring it back; if it is lost for ever, nothing puts another machine in its place in this version: "+
			"'pressenter destroy --unreached %s' gives all back and keeps the sealed backup of its key", h.Name)
	}
	return fmt.Sprintf("bring it back; or, if it is lost for ever, install that server anew at its address, run 'pressenter ssh --forget %s', "+
		"then 'pressenter apply --replace-lost' and 'pressenter key restore'", h.Name)
}

// machines says which change of machines would destroy what a wanted host is, or what is a validator's and was not named, or
// buy again what is there.
func machines(want Want, changes []provision.Change, bought []deployment.Host) error {
	for _, c := range changes {
		machine, _, _ := strings.Cut(c.Host, "/")
		host, wanted := want.Own.OnMachineOf(machine)
		name := host.Name
		has := slices.ContainsFunc(bought, func(h deployment.Host) bool { return h.Machine() == machine })
		harmless := c.Kind == provision.Firewall || c.Kind == provision.Spread || c.Kind == provision.Label
		loses := c.Loses() && !harmless
		switch {
		case !wanted && loses && machine != want.Confirmed && validators(c, machine, bought):
			return &Refusal{
				Why: fmt.Sprintf("the %s of %s would be destroyed (%s), and it is a validator's", c.Kind, machine, reason(c)),
				Next: fmt.Sprintf("see what it is in the console of %s; if nothing on it is ever needed again, run 'pressenter apply --confirm %s'",
					cmp.Or(c.Cloud, "its cloud"), machine),
			}
		case !wanted:
		case loses:
			return &Refusal{
				Why:  fmt.Sprintf("the %s of %s would be destroyed (%s), with all that is on it", c.Kind, name, reason(c)),
				Next: nextOfLoss(host),
			}
		case c.Kind == provision.Server && c.Action == provision.Create && has:
			return &Refusal{
				Why:  fmt.Sprintf("%s has a machine, and this account does not know it", name),
				Next: nextOfUnknown(host),
			}
		}
	}
	return nil
}

// forgotten says which machine that was paid for, and is not wanted any more, no cloud knows: it would be forgotten, and may be
// paid for on. Somebody may have deleted it; or the credentials are of another account. That they are not is known where
// they know another machine in that cloud, unless this one is there for all to see.
func forgotten(want Want, have Observed) error {
	known := map[string]bool{} // clouds
	for _, h := range have.Bought {
		if _, wanted := want.Own.OnMachineOf(h.Machine()); wanted && !changed(have.Machines, provision.Create, h) || changed(have.Machines, provision.Destroy, h) {
			known[h.Provider] = true
		}
	}
	for _, h := range have.Bought {
		if _, wanted := want.Own.OnMachineOf(h.Machine()); wanted || changed(have.Machines, provision.Destroy, h) {
			continue
		}
		if have.Own.there(h) {
			return &Refusal{
				Why:  fmt.Sprintf("%s is to be given back and runs, and this account of %s does not know its machine %s", h.Name, h.Provider, h.Machine()),
				Next: "check that the credentials in the environment are of the account and project that it was bought in",
			}
		}
		if !known[h.Provider] && !want.Looked {
			return &Refusal{
				Why: fmt.Sprintf("this account of %s knows no machine of this deployment, and %s was bought there", h.Provider, h.Machine()),
				Next: fmt.Sprintf("check that the credentials in the environment are of the account and project that it was bought in; if somebody deleted it, "+
					"look for it in the console of %s and add --looked", h.Provider),
			}
		}
	}
	return nil
}

// changed says whether such a change is made of the server of a host.
func changed(changes []provision.Change, what provision.Action, h deployment.Host) bool {
	return slices.ContainsFunc(changes, func(c provision.Change) bool {
		return c.Kind == provision.Server && c.Action == what && c.Host == h.Machine()
	})
}

// there says whether a machine was reached.
func (o ObservedDeployment) there(h deployment.Host) bool {
	is := func(r ObservedHost) bool { return r.Host.Machine() == h.Machine() && r.Exists && r.Away == "" }
	return is(o.Hosts[h.Name]) || slices.ContainsFunc(o.Replaced, is)
}

// reason is what is done, and which attributes make it necessary.
func reason(c provision.Change) string {
	if len(c.Because) == 0 {
		return string(c.Action)
	}
	return fmt.Sprintf("%s, because of %s", c.Action, strings.Join(c.Because, ", "))
}

// validators says whether a machine is, or may be, a validator's: as the inventory has it, by its name if the inventory has
// forgotten it, or because its cloud was told to protect it, which nothing else is.
func validators(c provision.Change, machine string, bought []deployment.Host) bool {
	host, _, _ := strings.Cut(machine, "--")
	return c.Protected || host == config.ValidatorHost || slices.ContainsFunc(bought, func(h deployment.Host) bool {
		return h.Machine() == machine && h.Role == roster.RoleValidator
	})
}

// nextOfLoss is what to do where a plan would destroy what a host is.
func nextOfLoss(h deployment.Host) string {
	if h.Role == roster.RoleSentry {
		return fmt.Sprintf("put back in the config what changed it; or run 'pressenter replace %s': another machine joins before this one goes", h.Name)
	}
	return "put back in the config what changed it; a validator's machine is never replaced while it may sign"
}

// nextOfUnknown is what to do where the cloud does not know the machine that a host is.
func nextOfUnknown(h deployment.Host) string {
	const check = "check that the credentials in the environment are of the account and project that it was bought in; "
	if h.Role == roster.RoleValidator {
		return check + "if somebody deleted it: " + nextOfLostValidator(h)
	}
	return check + fmt.Sprintf("if somebody deleted it there, run 'pressenter replace %s'", h.Name)
}

// devices says why stock WireGuard devices are in the way of a driver. A change of driver would remove them, and who was
// removed cannot come back with the same key: that is a person's to say.
func devices(want Want, head *roster.Roster) error {
	driver := want.Own.MeshDriver
	if driver != roster.MeshWireGuard && len(want.Own.Devices) > 0 {
		return &Refusal{
			Why:  fmt.Sprintf("devices are stock WireGuard, and the mesh's driver is to be %q", driver),
			Next: "take the devices out of the config, or keep mesh.driver: " + roster.MeshWireGuard,
		}
	}
	if head == nil || head.MeshDriver == "" || head.MeshDriver == driver {
		return nil
	}
	for _, m := range head.Members {
		if m.Role == roster.RoleDevice {
			return &Refusal{
				Why:  fmt.Sprintf("the mesh is to change its driver while the device %q is in it", m.Name),
				Next: "take the devices out of the config and apply with today's driver, then change it",
			}
		}
	}
	return nil
}

// genesisSays refuses to change what stands in the genesis, which is for ever.
func genesisSays(want roster.Chain, head *roster.Roster) error {
	if head == nil {
		return nil
	}
	for _, w := range []struct{ key, was, is, why string }{
		{"chain.denom", head.Chain.Denom, want.Denom, "stakes and balances are in it"},
		{"chain.bech32_prefix", head.Chain.Bech32Prefix, want.Bech32Prefix, "accounts are written with it"},
		{"chain.daemon", head.Chain.Daemon, want.Daemon, "it made the genesis and keeps the state"},
	} {
		if w.was != w.is {
			return &Refusal{
				Why:  fmt.Sprintf("the practice network was made with %s %q, the config says %q: %s since the genesis", w.key, w.was, w.is, w.why),
				Next: fmt.Sprintf("put %s: %s back, or destroy the deployment and make it anew", w.key, w.was),
			}
		}
	}
	return nil
}

// lost says what a deployment that exists cannot go on without and nobody can make again.
func lost(s side, genesis string) error {
	if len(s.have.Heads) > 0 && !s.have.Keyring {
		return &Refusal{
			Why:  fmt.Sprintf("%s has a roster, but the operator keyring that signs it is gone", s.want.Deployment),
			Next: "bring it back from its recovery copy with 'pressenter key recover'",
		}
	}
	if s.have.Head == nil || s.have.Head.Chain.GenesisSHA256.IsZero() || s.have.Head.Chain.GenesisSHA256.String() == genesis {
		return nil
	}
	why := "is gone"
	if genesis != "" {
		why = "is another one"
	}
	return &Refusal{
		Why:  fmt.Sprintf("%s runs on the genesis %s, but the operator's copy of it %s", s.want.Deployment, s.have.Head.Chain.GenesisSHA256.Short(), why),
		Next: "copy it back from a host, home/config/genesis.json, to operator/genesis/genesis.json",
	}
}

func sentries(r *roster.Roster) int {
	n := 0
	for _, m := range r.Members {
		if m.Role == roster.RoleSentry {
			n++
		}
	}
	return n
}
