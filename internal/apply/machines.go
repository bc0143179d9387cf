package apply

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/tofu"
)

// Cloud is how machines are bought. Its zero value looks for OpenTofu or Terraform in PATH, and fetches OpenTofu where
// there is neither.
type Cloud struct {
	Tool        string   // of OpenTofu or Terraform, a name or a path
	Environment []string // names of further variables that it may see
	Unasked     bool     // buy without asking the clouds first whether that can be
	Looked      bool     // what may be there and could not be found was looked for by a person
}

// unborn stands for what is made with the first machine, in plans before that.
const (
	unbornID  = "000000000000"
	unbornKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// SSHKey is the key file that opens bought machines.
func SSHKey(d deployment.Dir) string { return filepath.Join(d.Operator(), "ssh_key") }

// observeMachines asks the clouds, by way of the tool, what would have to change.
func (s *Session) observeMachines(ctx context.Context) error {
	s.have.Machines, s.have.Bought, s.have.Checks, s.have.Doubts = nil, nil, nil, nil
	if err := s.recallClouds(ctx); err != nil || len(s.clouds()) == 0 {
		return err
	}
	for _, h := range s.own.inventory.All() {
		if h.Bought() && h.Address != "" {
			s.have.Bought = append(s.have.Bought, h)
		}
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	p, err := s.planMachines(ctx, w, s.want.Own)
	if err != nil {
		return err
	}
	s.have.Machines = p.Changes
	if s.own.inventory.Unprotected && p.Empty() && len(s.locks) > 0 { // all is as it should be, by whomever
		s.own.inventory.Unprotected = false
		if err := s.own.dir.SaveInventory(s.own.inventory); err != nil {
			return err
		}
	}
	s.have.OperatorAt = s.operatorAt(ctx)
	s.have.Checks, err = s.preflight(ctx, w, p)
	return err
}

// clouds are those in which machines are wanted or were bought.
func (s *Session) clouds() []string {
	return cloudsOf(s.own.inventory.Clouds, s.want.Own.Hosts, s.own.inventory.All())
}

func cloudsOf(more []string, hosts ...[]deployment.Host) []string {
	out := slices.Clone(more)
	for _, h := range slices.Concat(hosts...) {
		if h.Bought() {
			out = append(out, h.Provider)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// workspace is where the machines are kept as code.
func (s *Session) workspace(ctx context.Context) (*provision.Workspace, error) {
	clouds := s.clouds()
	if err := credentials(clouds); err != nil {
		return nil, err
	}
	if err := s.lockMachines(); err != nil {
		return nil, err
	}
	tool, err := provision.Find(ctx, s.Cloud.Tool, provision.Fetcher{Progress: s.machineWord})
	if err != nil {
		return nil, err
	}
	w := &provision.Workspace{
		Dir: s.machines(), Tool: tool, Clouds: clouds, Extra: s.Cloud.Environment, Progress: s.machineWord,
		Looked: s.Cloud.Looked,
	}
	s.recallID(w)
	if _, err := keyring.Protected(s.Dir.Operator()); errors.Is(err, fs.ErrNotExist) {
		return w, nil // nothing was bought yet
	}
	k, err := s.keys(s.own)
	if err != nil {
		return nil, err
	}
	w.Passphrase = k.StatePassphrase().Bytes()
	return w, nil
}

// lockMachines keeps others away from the machines' configuration, state and plans, until the session ends.
func (s *Session) lockMachines() error {
	if s.machinesLocked {
		return nil
	}
	dir := s.machines()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := process.TryLock(filepath.Join(dir, "lock"), s.Who)
	var held *process.Held
	if errors.As(err, &held) {
		return &Locked{Where: "the machines", Who: held.Holder.Name, Since: held.Holder.Since}
	}
	if err != nil {
		return fmt.Errorf("lock the machines: %w", err)
	}
	s.machinesLocked = true
	s.locks = append(s.locks, func() { _ = lock.Close(); s.machinesLocked = false })
	return nil
}

// NoCredentials says which variables of the environment a cloud needs.
type NoCredentials struct{ Cloud, Variable string }

// Error implements error.
func (e *NoCredentials) Error() string {
	return fmt.Sprintf("cloud %s: %s is not set in the environment", e.Cloud, e.Variable)
}

// Hint says what to do.
func (e *NoCredentials) Hint() string {
	return fmt.Sprintf("make an API token in the account at %s and set %s, for this shell only; docs/clouds.md says what it has to allow", e.Cloud, e.Variable)
}

// credentials says which cloud has none at all. Whether they are good the cloud says.
func credentials(clouds []string) error {
	for _, name := range clouds {
		c, ok := tofu.Lookup(name)
		if !ok || len(c.Environment) == 0 {
			continue
		}
		if !slices.ContainsFunc(c.Environment, func(v string) bool { return os.Getenv(v) != "" }) {
			return &NoCredentials{name, c.Environment[0]}
		}
	}
	return nil
}

// planMachines plans the machines of an inventory, with whatever earlier runs made and did not note.
func (s *Session) planMachines(ctx context.Context, w *provision.Workspace, i deployment.Inventory) (*provision.Plan, error) {
	spec, err := s.recoveredSpec(ctx, w, i)
	if err != nil {
		return nil, err
	}
	return w.Plan(ctx, spec)
}

// recoveredSpec is what an inventory wants of machines, once the state knows whatever earlier runs made.
func (s *Session) recoveredSpec(ctx context.Context, w *provision.Workspace, i deployment.Inventory) (tofu.Spec, error) {
	spec, err := s.specOf(i)
	if err != nil {
		return tofu.Spec{}, err
	}
	spec.Keep = w.Clouds
	w.Former = plan.Machines(s.own.inventory, nil).Hosts
	left, err := s.recoverMachines(ctx, w, spec)
	s.have.Doubts = left.Unknown
	return spec, err
}

// specOf is what an inventory wants of machines.
func (s *Session) specOf(i deployment.Inventory) (tofu.Spec, error) {
	if i.MachinesID == "" {
		i.MachinesID = unbornID
	}
	key, err := ssh.PublicIdentity(SSHKey(s.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		key, err = unbornKey, nil
	}
	return plan.Machines(i, []string{key}), err
}

// changeMachines buys and changes machines. Those that are to be given back stay until their hosts have left.
func (s *Session) changeMachines(ctx context.Context) error {
	if err := s.bearMachines(); err != nil {
		return err
	}
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	union := s.want.Own
	union.Replaced = s.own.inventory.Replaced
	for _, h := range s.own.inventory.Hosts {
		if _, wanted := union.Host(h.Name); !wanted {
			union.Put(h)
		}
	}
	p, err := s.planMachines(ctx, w, union)
	if err != nil {
		return err
	}
	if deleted := vanished(made(p.Changes), s.want.Own, union); len(deleted) > 0 { // what is left of them goes with this
		for _, machine := range deleted {
			if h, is := union.OnMachineOf(machine); is {
				union.Drop(h.Name)
			}
			union.DropReplaced(machine)
		}
		if p, err = s.planMachines(ctx, w, union); err != nil {
			return err
		}
	}
	if err := covered(s.lasting(p.Changes), s.have.Machines); err != nil {
		return err
	}
	if err := s.applyMachines(ctx, w, p); err != nil { // an empty one too: it brings addresses that the cloud changed into the state
		return err
	}
	return s.takeMachines(ctx, w)
}

// made are the machines that changes would make.
func made(changes []provision.Change) []string {
	var out []string
	for _, c := range changes {
		if c.Action == provision.Create && c.Kind == provision.Server {
			out = append(out, c.Host)
		}
	}
	return out
}

// covered says whether nothing is done that the plan did not show.
func covered(changes, shown []provision.Change) error {
	for _, c := range changes {
		if !slices.ContainsFunc(shown, func(o provision.Change) bool { return o.Address == c.Address && o.Action == c.Action }) {
			return fmt.Errorf("the machines changed since they were planned: %s %s was not in the plan; run 'pressenter apply' again", c.Action, c.Address)
		}
	}
	return nil
}

// bearMachines makes, once, what is in the names of all machines and what opens them.
func (s *Session) bearMachines() error {
	if _, err := os.Stat(SSHKey(s.Dir)); errors.Is(err, fs.ErrNotExist) && len(s.have.Bought) > 0 {
		return s.keyGone()
	}
	if _, err := ssh.NewIdentity(SSHKey(s.Dir), "pressenter "+s.want.Own.Deployment); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inv := &s.own.inventory
	if inv.MachinesID == "" {
		if err := provision.Establish(s.machines()); err != nil {
			return err
		}
		id := make([]byte, 6)
		_, _ = rand.Read(id) // never fails
		inv.MachinesID = hex.EncodeToString(id)
	}
	inv.Clouds = s.clouds()
	inv.Deployment, inv.ChainID, inv.Daemon = s.want.Own.Deployment, s.want.Own.ChainID, s.want.Own.Daemon
	s.want.Own.MachinesID = inv.MachinesID
	for _, h := range s.want.Own.Hosts { // noted before they are paid for
		if was, known := inv.Host(h.Name); h.Bought() && (!known || !was.Exists()) {
			inv.Put(h)
		}
	}
	return s.own.dir.SaveInventory(*inv)
}

// keyGone says that nobody can log in to the machines any more.
func (s *Session) keyGone() error {
	return fmt.Errorf("the key that opens the machines is gone: bring %s back from a copy; another one would open none of them", SSHKey(s.Dir))
}

// takeMachines notes where the machines are.
func (s *Session) takeMachines(ctx context.Context, w *provision.Workspace) error {
	machines, err := w.Machines(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, h := range slices.Clone(s.want.Own.Hosts) {
		if !h.Bought() {
			continue
		}
		m, ok := machines[h.Provider+"/"+h.Machine()]
		if !ok || m.PublicIPv4 == "" {
			errs = append(errs, fmt.Errorf("the machine of %q has no IPv4 address", h.Name))
			continue
		}
		h.Address, h.Public, h.VolumeDevice = m.SSHUser+"@"+m.PublicIPv4, m.PublicIPv4, m.VolumeDevice
		s.want.Own.Put(h)
		s.own.inventory.Put(h)
	}
	s.own.inventory.Openings, s.own.inventory.Unprotected = s.want.Own.Openings, false
	s.own.inventory.AdminCIDRs = append([]string{}, s.want.Own.AdminCIDRs...)
	return errors.Join(append(errs, s.own.dir.SaveInventory(s.own.inventory))...)
}

// returnMachines gives back what no wanted host needs: what was shown of it, or all.
func (s *Session) returnMachines(ctx context.Context, shown []provision.Change) error {
	w, err := s.workspace(ctx)
	if err != nil {
		return err
	}
	p, err := s.planMachines(ctx, w, s.want.Own)
	if err != nil {
		return err
	}
	if shown != nil {
		if err := covered(s.lasting(p.Changes), shown); err != nil {
			return err
		}
	}
	if !p.Empty() {
		if err := s.applyMachines(ctx, w, p); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own.inventory.Clouds = cloudsOf(nil, s.want.Own.Hosts, s.own.inventory.All())
	return s.own.dir.SaveInventory(s.own.inventory)
}

// machineWord passes on what happens to machines.
func (s *Session) machineWord(e provision.Event) {
	switch {
	case e.Severity != "":
		s.progress(Event{Word: e.Message, Why: true})
	case e.Address == "":
		s.progress(Event{Word: e.Message})
	case e.State == provision.Complete || e.State == provision.Errored:
		s.progress(Event{Word: fmt.Sprintf("%s: %s %s", strings.TrimPrefix(e.Address, "module."), e.Action, e.State)})
	}
}
