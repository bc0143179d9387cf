package apply

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/tofu"
)

// machines is the folder in which the machines are kept as code.
func (s *Session) machines() string { return filepath.Join(s.Dir.Operator(), "machines") }

// recallID takes from the journals what is in the names and labels of all machines, if the inventory has lost it.
func (s *Session) recallID(w *provision.Workspace) {
	if id := w.ID(); s.own.inventory.MachinesID == "" && id != unbornID {
		s.own.inventory.MachinesID = id
	}
	if s.want.Own.MachinesID == "" {
		s.want.Own.MachinesID = s.own.inventory.MachinesID
	}
}

// recallClouds asks the state in which clouds something was bought, if the inventory has forgotten it.
func (s *Session) recallClouds(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.machines(), "main.tf.json")); err != nil || len(s.own.inventory.Clouds) > 0 {
		return nil
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	clouds, err := w.CloudsInState(ctx)
	if err == nil && len(clouds) > 0 && s.own.inventory.MachinesID == "" {
		err = fmt.Errorf("machines of %s are in the state, and neither the inventory nor a journal knows them: bring %s back from a copy", strings.Join(clouds, " and "), filepath.Join(s.Dir.Operator(), "inventory.json"))
	}
	s.own.inventory.Clouds = clouds
	return err
}

// lost says that machines were bought, and that nothing is left here of what was known of them.
func (s *Session) lost(w *provision.Workspace) bool {
	return s.own.inventory.MachinesID != "" && w.Blank()
}

// recoverMachines finds what the state does not know.
func (s *Session) recoverMachines(ctx context.Context, w *provision.Workspace, spec tofu.Spec) (provision.Recovery, error) {
	left, err := w.Recover(ctx, spec, s.lost(w))
	if err != nil {
		return left, fmt.Errorf("find what earlier runs left: %w", err)
	}
	if left.Lost {
		s.progress(Event{Word: fmt.Sprintf("what was known of the machines was gone: %d of their parts were found again at %s by the deployment's id",
			len(left.Taken), strings.Join(w.Clouds, " and ")), Why: true})
	}
	for _, words := range left.Unknown {
		s.progress(Event{Word: "look in the cloud's console: " + words, Why: true})
	}
	return left, nil
}

// NotFound says which machines were not found, before they are given back.
type NotFound struct {
	Hosts   []string // whose machines were not found at all
	Unknown []string // what no cloud tells
}

// Error implements error.
func (e *NotFound) Error() string {
	var why []string
	if len(e.Hosts) > 0 {
		why = append(why, fmt.Sprintf("the accounts of the credentials in the environment have no machine of %s", strings.Join(e.Hosts, ", ")))
	}
	why = append(why, e.Unknown...)
	return "not all that was bought was found, and it may still be paid for: " + strings.Join(why, "; ")
}

// Hint says what to do.
func (e *NotFound) Hint() string {
	return "check that the credentials are of the account in which it was bought, and look in its console. 'pressenter destroy --looked' gives back what was found; the rest is yours to delete there"
}

// regain finds the machines by their labels before a destroy gives them back, if what was known of them is lost. Until then
// nothing is destroyed: the inventory, which says what to look for, goes with the hosts.
func (s *Session) regain(ctx context.Context) error {
	i := &s.own.inventory
	s.former = plan.Machines(*i, nil).Hosts
	if i.MachinesID == "" && len(s.clouds()) == 0 {
		return s.nothingKnown()
	}
	bought := slices.DeleteFunc(i.All(), func(h deployment.Host) bool { return !h.Bought() })
	w := &provision.Workspace{Dir: s.machines()}
	if s.lost(w) && len(cloudsOf(i.Clouds, bought)) == 0 { // it has forgotten where, too
		i.Clouds = s.configured()
	}
	i.Clouds = cloudsOf(i.Clouds, bought)
	if err := s.recallEarlier(w); err != nil {
		return err
	}
	if len(i.Clouds) == 0 {
		return nil
	}
	if err := s.own.dir.SaveInventory(*i); err != nil {
		return err
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	w.Former = s.former
	left, err := s.recoverMachines(ctx, w, s.nothing())
	if err != nil || s.Cloud.Looked {
		return err
	}
	if !left.Lost && len(left.Unknown) == 0 {
		return s.allThere(ctx, w, bought)
	}
	paid := paidFor(bought)
	missing := slices.DeleteFunc(left.Missing, func(machine string) bool { return !slices.Contains(paid, machine) })
	if len(missing) > 0 || len(left.Unknown) > 0 {
		return &NotFound{missing, left.Unknown}
	}
	return nil
}

// NotAsked says which clouds cannot be asked whether something is left there of earlier times.
type NotAsked struct{ Clouds []string }

// Error implements error.
func (e *NotAsked) Error() string {
	return fmt.Sprintf("machines were bought at %s earlier, and without credentials nobody can be asked whether something is left there", strings.Join(e.Clouds, " and "))
}

// Hint says what to do.
func (e *NotAsked) Hint() string {
	return "set the cloud's variables in the environment, which docs/clouds.md names; or look in its console, and run 'pressenter destroy --looked'"
}

// recallEarlier has a destroy ask the clouds, too, in which nothing is known to be any more.
func (s *Session) recallEarlier(w *provision.Workspace) error {
	i := &s.own.inventory
	earlier, err := w.CloudsInJournals()
	if err != nil {
		return err
	}
	var mute []string
	for _, cloud := range earlier {
		switch {
		case slices.Contains(i.Clouds, cloud):
		case credentials([]string{cloud}) != nil:
			mute = append(mute, cloud)
		default:
			i.Clouds = append(i.Clouds, cloud)
		}
	}
	if len(mute) > 0 && !s.Cloud.Looked {
		return &NotAsked{mute}
	}
	slices.Sort(i.Clouds)
	return nil
}

// NothingKnown says that a destroy has nothing to destroy, and that its config buys machines all the same.
type NothingKnown struct {
	Folder string
	Clouds []string
}

// Error implements error.
func (e *NothingKnown) Error() string {
	return fmt.Sprintf("nothing is known in %q of hosts or machines, and the config buys them at %s: none was destroyed", e.Folder, strings.Join(e.Clouds, " and "))
}

// Hint says what to do.
func (e *NothingKnown) Hint() string {
	return "if this is the wrong folder, run it in the right one; if its folder operator/ is gone, bring that back from a copy; if nothing was ever made here, delete the folder"
}

// nothingKnown refuses to call a deployment destroyed of which nothing is known but a config that buys machines.
func (s *Session) nothingKnown() error {
	clouds := s.configured()
	if len(clouds) == 0 || len(s.own.inventory.Hosts) > 0 || s.own.rosters.State().Head != nil {
		return nil
	}
	if (&provision.Workspace{Dir: s.machines()}).ID() != "" { // their journals know them
		return nil
	}
	return &NothingKnown{string(s.Dir), clouds}
}

// allThere says whether the clouds would give back every machine that was bought. In another account there is none of them:
// a destroy would find nothing to do, and the state would forget what is paid for.
func (s *Session) allThere(ctx context.Context, w *provision.Workspace, bought []deployment.Host) error {
	p, err := w.Plan(ctx, s.nothing())
	if err != nil {
		return err
	}
	missing, err := w.Vanished(ctx, p)
	if err != nil {
		return err
	}
	for _, machine := range paidFor(bought) {
		if !p.GivesBack(machine) {
			missing = append(missing, machine)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return &NotFound{Hosts: slices.Compact(missing)}
}

// paidFor are the machines of hosts, those among them that were replaced too, of which it is known where they are.
func paidFor(bought []deployment.Host) []string {
	var out []string
	for _, h := range bought {
		if h.Address != "" {
			out = append(out, h.Machine())
		}
	}
	return out
}

// configured are the clouds that the config names.
func (s *Session) configured() []string {
	used := []string{s.Config.ProviderOf(s.Config.Validator.Machine)}
	for _, sentry := range s.Config.Sentries {
		used = append(used, s.Config.ProviderOf(sentry.Machine))
	}
	used = slices.DeleteFunc(used, func(name string) bool { _, cloud := tofu.Lookup(name); return !cloud })
	slices.Sort(used)
	return slices.Compact(used)
}

// nothing is what is wanted of machines in the end.
func (s *Session) nothing() tofu.Spec {
	i := s.own.inventory
	name := i.Deployment
	if name == "" {
		name = s.Config.Name
	}
	spec := plan.Machines(deployment.Inventory{Deployment: name, MachinesID: i.MachinesID, AdminCIDRs: s.Config.Admin.CIDRs}, []string{unbornKey})
	spec.Keep = i.Clouds
	return spec
}

// rounds bounds how often a destroy looks for more: of two machines with one label the state holds one at a time.
const rounds = 5

// StillThere says what carries the deployment's id after all was given back.
type StillThere struct{ What []string }

// Error implements error.
func (e *StillThere) Error() string {
	return "what carries the deployment's id is still there, and may be paid for: " + strings.Join(e.What, "; ")
}

// Hint says what to do.
func (e *StillThere) Hint() string {
	return "delete it in the cloud's console, if it is yours, and run 'pressenter destroy' again; with --looked it stays there"
}

// returnAll gives every machine back, and looks by their labels whether one is left.
func (s *Session) returnAll(ctx context.Context) error {
	if err := s.recallClouds(ctx); err != nil {
		return err
	}
	if len(s.own.inventory.Clouds) == 0 {
		return nil
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	w.Former = s.former
	var left []string
	for round := range rounds {
		if _, err := w.Recover(ctx, s.nothing(), round > 0 || s.lost(w)); err != nil {
			return fmt.Errorf("find what earlier runs left: %w", err)
		}
		p, err := w.Plan(ctx, s.nothing())
		if err != nil {
			return err
		}
		if err := s.applyMachines(ctx, w, p); err != nil {
			return err
		}
		if left, err = w.Left(ctx, s.own.inventory.MachinesID); err != nil {
			return err
		}
		if len(left) == 0 || round > 0 && p.Empty() {
			break
		}
	}
	if len(left) > 0 && !s.Cloud.Looked {
		return &StillThere{left}
	}
	s.own.inventory.Clouds = nil
	return s.own.dir.SaveInventory(s.own.inventory)
}
