package plan

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// Observed is what is there.
type Observed struct {
	World ObservedDeployment `json:"world"`
	Own   ObservedDeployment `json:"own"`
	// Staged says that the wanted daemon lies in the deployment.
	Staged bool `json:"staged"`
	// Genesis is the hex SHA-256 of the finished genesis, "" when there is none.
	Genesis  string `json:"genesis,omitempty"`
	Prepared bool   `json:"prepared"`
	// Machines is what has to change of the machines so that there are those that are wanted and no others.
	Machines []provision.Change `json:"machines,omitempty"`
	// Checks are what the clouds say of the machines that would be bought.
	Checks []provision.Check `json:"checks,omitempty"`
	// Doubts are words about what may be paid for and no cloud can be asked for.
	Doubts []string `json:"doubts,omitempty"`
	// Bought are the hosts whose machines are paid for now.
	Bought []deployment.Host `json:"bought,omitempty"`
	// OperatorAt is from where machines see us come, if the firewalls change and it can be known.
	OperatorAt netip.Addr `json:"operator_at,omitzero"`
	// Signing says that others held a signature of the validator in one of the newest commits.
	Signing bool `json:"signing"`
	// Destroying says that a destroy was begun and is not finished.
	Destroying bool `json:"destroying,omitempty"`
	// Unprotected says that a destroy which was not begun took the clouds' protection off machines.
	Unprotected bool `json:"unprotected,omitempty"`
}

// ObservedDeployment is what is there of one deployment.
type ObservedDeployment struct {
	Keyring bool                    `json:"keyring"`
	Head    *roster.Roster          `json:"head,omitempty"` // nil: none yet, or a fork
	Heads   []string                `json:"heads,omitempty"`
	Fork    bool                    `json:"fork,omitempty"`
	Hosts   map[string]ObservedHost `json:"hosts"`
	// Replaced are machines whose host is another one now.
	Replaced []ObservedHost `json:"replaced,omitempty"`
}

// ObservedHost is one host, wanted or not.
type ObservedHost struct {
	Host   deployment.Host `json:"host"`
	Exists bool            `json:"exists"`
	// Away says why a machine cannot be looked at; Status is empty then.
	Away string `json:"away,omitempty"`
	// Agent says that the agent answered; Status is then its own word, else what could be seen without it.
	Agent  bool           `json:"agent"`
	Status api.HostStatus `json:"status"`
	// BackedUp says that the operator keeps the sealed backup that the host made of its consensus key.
	BackedUp bool `json:"backed_up"`
}

// enrolled collects the public halves of what has been enrolled.
func (o ObservedDeployment) enrolled() map[string]api.Enrolled {
	out := map[string]api.Enrolled{}
	for name, h := range o.Hosts {
		if h.Exists && h.Status.Enrolled != nil && !h.Host.Removing {
			out[name] = *h.Status.Enrolled
		}
	}
	return out
}

// Plan is what apply will do: stages one after the other, the steps of a stage side by side.
type Plan struct {
	Stages [][]Step `json:"-"`
	// Notes are what a person should know and no step changes.
	Notes []string `json:"notes,omitempty"`
}

// Empty says that nothing has to change.
func (p Plan) Empty() bool { return len(p.Stages) == 0 }

// Steps are all steps in order.
func (p Plan) Steps() []Step { return slices.Concat(p.Stages...) }

// Make decides the steps from have to want.
func Make(want Want, have Observed) (Plan, error) {
	if err := refuse(want, have); err != nil {
		return Plan{}, err
	}
	b := builder{want: want, have: have, coming: comes(want, have.Own)}
	if want.Begin != "" {
		b.stage([]Step{BeginReplace{On{want.Own.Deployment, want.Begin}}})
	}
	if want.Back != "" {
		b.stage([]Step{TakeBack{On{want.Own.Deployment, want.Back}}})
	}
	sides := b.sides()
	for i := range sides {
		b.clearAway(&sides[i])
		b.takeOut(&sides[i])
	}
	b.meet(sides)
	b.setUp(sides)
	own := sides[len(sides)-1]
	for _, world := range sides[:len(sides)-1] {
		if !have.Own.Fork { // it dials ours, and who they are is known only once the fork is healed
			b.follow(world)
		}
	}
	b.follow(own)
	if have.Own.Fork {
		b.returns = nil // one side of it may still have their hosts
	}
	b.unprotect(b.returns) // first: a cloud that refuses it would leave machines that run nothing and are paid for
	obliges := func(h deployment.Host) bool { return !brought(h) }
	for _, s := range sides {
		b.destroy(s, obliges)
	}
	b.discard(own, obliges)
	if len(b.returns) > 0 {
		b.stage([]Step{ReturnMachines{On{Deployment: want.Own.Deployment}, b.returns}})
	}
	b.destroy(own, brought) // last: one that refuses to be cleared keeps nothing else from its end
	b.discard(own, brought)
	b.cost(have.Bought)
	b.setsUp()
	b.placement()
	b.admins()
	b.openings()
	b.preflight()
	b.meshNotes()
	b.adopted()
	b.await(own)
	b.waiting()
	slices.Sort(b.plan.Notes)
	return b.plan, nil
}

// side is one of the two deployments.
type side struct {
	want  deployment.Inventory
	have  ObservedDeployment
	peers []string
}

type builder struct {
	want Want
	have Observed
	plan Plan
	// coming are sentries that take the place of others.
	coming []string
	// returns are the changes of machines that come last.
	returns []provision.Change
	// target is the roster that the plan ends with, of the side that was followed last: our own. It is nil in a fork.
	target *roster.Roster
}

// stage adds steps that may be done side by side.
func (b *builder) stage(steps []Step) {
	if len(steps) > 0 {
		b.plan.Stages = append(b.plan.Stages, steps)
	}
}

func (b *builder) note(format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, fmt.Sprintf(format, args...))
}

// clearAway destroys what is left of a host that has left the roster, where one of the same name is wanted again: its
// identity can never come back, so the host is made anew.
func (b *builder) clearAway(s *side) {
	var out []Step
	hosts := maps.Clone(s.have.Hosts)
	for _, h := range s.want.Hosts {
		o := hosts[h.Name]
		if s.have.Head == nil || o.Status.Enrolled == nil || !s.have.Head.Tombstoned(roster.Key(o.Status.Enrolled.Identity)) {
			continue
		}
		out = append(out, DestroyHost{On{s.want.Deployment, h.Name}, string(o.Host.Role)})
		hosts[h.Name] = ObservedHost{Host: h}
	}
	s.have.Hosts = hosts
	b.stage(out)
}

// setUp makes hosts, keys and genesis.
func (b *builder) setUp(sides []side) {
	var first, create, start, enroll, install []Step
	if !b.have.Staged {
		first = append(first, StageDaemon{On{Deployment: b.want.Own.Deployment}, b.want.Own.Daemon.Name, b.want.Own.Daemon.SHA256})
	}
	for _, s := range sides {
		if !s.have.Keyring {
			first = append(first, CreateKeyring{On{Deployment: s.want.Deployment}})
		}
		for _, h := range s.want.Hosts {
			on, o := On{s.want.Deployment, h.Name}, s.have.Hosts[h.Name]
			if s.have.Fork && (!o.Exists || o.Status.Enrolled == nil) {
				continue // what becomes of the host is not known before the fork is healed
			}
			if !o.Exists {
				create = append(create, CreateHost{on, string(h.Role)})
			}
			if !o.Agent {
				start = append(start, StartAgent{on})
			} else if OtherBuild(b.want, o) {
				start = append(start, RestartAgent{on, BuildWords(o.Status.Agent.Build)})
			}
			if !o.Exists || o.Status.Enrolled == nil {
				enroll = append(enroll, Enroll{on, string(h.Role), h.Role == roster.RoleValidator && b.haveKey() && !hasKey(o, b.have.Own.Head)})
			} else if words := s.place(h, o); words != "" {
				enroll = append(enroll, PlaceInMesh{on, words})
			} else if len(o.Status.Enrolled.Backup) > 0 && !o.BackedUp {
				enroll = append(enroll, KeepBackup{on})
			}
			if o.Status.GenesisHash == "" {
				install = append(install, InstallGenesis{on})
			}
		}
	}
	world := On{Deployment: b.want.World.Deployment}
	if !b.have.Prepared && b.have.Genesis == "" {
		enroll = append([]Step{PrepareGenesis{world}}, enroll...)
	}
	b.stage(first)
	buys, returns := split(b.have.Machines, b.want.Own)
	placeless := func(h deployment.Host) bool { return h.Bought() && h.Address == "" }
	if len(buys) > 0 || slices.ContainsFunc(b.want.Own.Hosts, placeless) { // bought by a run that was cut off, and not noted
		b.unprotect(buys)
		b.stage([]Step{ChangeMachines{On{Deployment: b.want.Own.Deployment}, buys, slices.ContainsFunc(buys, provision.Change.Loses)}})
	}
	b.returns = returns
	b.stage(create)
	b.stage(start)
	b.grow()
	b.stage(enroll)
	if b.have.Genesis == "" {
		b.stage([]Step{MakeGenesis{world, len(b.validators())}})
	}
	b.stage(install)
}

// OtherBuild says whether the agent of a host is another program than the one that would be started now. It may not
// understand what it is asked.
func OtherBuild(want Want, o ObservedHost) bool {
	return o.Agent && want.Build != "" && o.Status.Agent.Build != want.Build
}

// BuildWords is a build in short.
func BuildWords(build string) string {
	kind, digest, is := strings.Cut(build, ":")
	if !is {
		return fmt.Sprintf("%.12s", build)
	}
	return fmt.Sprintf("%s:%.12s", kind, digest)
}

// place says what changes of an enrolled host's place in the mesh, or "".
func (s side) place(h deployment.Host, o ObservedHost) string {
	was, driver := o.Status.Listen, s.want.MeshDriver
	switch {
	case driver != "" && o.Status.Enrolled.MeshDriver != "" && o.Status.Enrolled.MeshDriver != driver:
		return fmt.Sprintf("its keys for %s are born there", driver)
	case driver != "" && (len(o.Status.Enrolled.MeshKey) == 0 || was.Mesh == ""):
		return "its mesh keys are born there"
	case s.want.MeshProgram.SHA256 != "" && o.Status.Enrolled.MeshProgram != s.want.MeshProgram.SHA256:
		return fmt.Sprintf("it gets %s %.12s, and its links break off for some seconds", s.want.MeshProgram.Name, s.want.MeshProgram.SHA256)
	case was.Mesh != h.Listen.Mesh:
		return fmt.Sprintf("its tunnel moves to %s", h.Listen.Mesh)
	case was.Relay != h.Listen.Relay && h.Listen.Relay == "":
		return "it relays no more"
	case was.Relay != h.Listen.Relay:
		return fmt.Sprintf("it relays at %s", h.Listen.Relay)
	}
	return ""
}

// validators are the hosts with stake in the practice network's genesis.
func (b *builder) validators() []string { return GenesisValidators(b.want) }

// GenesisValidators names the hosts that have stake from the beginning.
func GenesisValidators(w Want) []string {
	var out []string
	for _, h := range slices.Concat(w.World.Hosts, w.Own.Hosts) {
		if h.Role != roster.RoleSentry {
			out = append(out, h.Name)
		}
	}
	return out
}

// follow brings the roster, and then the nodes, to what is wanted.
func (b *builder) follow(s side) {
	on := On{Deployment: s.want.Deployment}
	if s.have.Fork {
		b.stage([]Step{HealFork{on}})
		b.note("%s: the roster is forked and nobody signs; after healing it, 'pressenter plan' shows what is left to do", s.want.Deployment)
		b.target = nil
		return
	}
	steps := forecast(s, b.want.Chain)
	target := s.have.Head
	own := s.want.Deployment == b.want.Own.Deployment
	join := b.coming
	if own && len(steps) > 0 {
		before := b.pending()
		b.join(s, before) // nobody else leaves before the validator has those
		join = slices.DeleteFunc(slices.Clone(join), func(name string) bool { return slices.Contains(before, name) })
	}
	if len(steps) > 0 {
		target = steps[len(steps)-1]
		var words []string
		head := s.have.Head
		for _, r := range steps {
			words, head = append(words, changes(head, r)...), r
		}
		b.stage([]Step{PublishRoster{on, steps[0].Generation, words, b.another(s)}})
	} else {
		b.stage(b.behind(s))
	}
	var others, validator []Step
	if s.have.Head != nil {
		others, validator = b.restarts(s, target)
	}
	if own && len(join) > 0 { // before others of the sentries are restarted; it may know of those that came since its restart only
		b.stage(validator)
		b.join(s, join)
		validator = nil
	}
	for _, step := range others {
		b.stage([]Step{step})
	}
	b.stage(validator)
	b.target = target
}

// another names a validator whose place in the roster another host takes, or "".
func (b *builder) another(s side) string {
	if s.have.Head == nil || s.want.Deployment != b.want.Own.Deployment {
		return ""
	}
	for _, m := range s.have.Head.Members {
		h, wanted := s.want.Host(m.Name)
		if m.Role == roster.RoleValidator && wanted && h.Role == m.Role && stranger(s.have.Hosts[m.Name], m, s.have.Head) {
			return m.Name
		}
	}
	return ""
}

// changes puts the difference of two generations into words.
func changes(head, target *roster.Roster) []string {
	if head == nil {
		out := make([]string, 0, len(target.Members))
		for _, m := range target.Members {
			out = append(out, fmt.Sprintf("admits %s (%s)", m.Name, m.Role))
		}
		return out
	}
	// A key that is not born yet has no value to tell.
	return slices.DeleteFunc(roster.Diff(head, target), func(words string) bool {
		return strings.Contains(words, unreadyNodeID) || strings.Contains(words, " key of ") && strings.HasSuffix(words, "00000000")
	})
}

// behind are hosts that must be told the newest roster: they lack it, or have just come up and do not know that they
// have it.
func (b *builder) behind(s side) []Step {
	var out []Step
	for _, name := range slices.Sorted(maps.Keys(s.have.Hosts)) {
		o := s.have.Hosts[name]
		if _, wanted := s.want.Host(name); !wanted {
			continue // it left the roster before this plan, and is destroyed by it
		}
		if !o.Agent || OtherBuild(b.want, o) || !o.Status.Roster.Learned || !slices.Equal(o.Status.Roster.Heads, s.have.Heads) {
			out = append(out, SyncRoster{On{s.want.Deployment, name}})
		}
	}
	return out
}

// restarts are the nodes whose configuration will differ from the one they run with in what takes a restart: sentries one
// after the other, the validator last, so that it always finds sentries that are up.
func (b *builder) restarts(s side, target *roster.Roster) (others, validator []Step) {
	for _, m := range target.Members {
		o, ok := s.have.Hosts[m.Name]
		if !ok || o.Status.Node.Revision == "" || o.Status.Intent.Held || o.Status.Intent.Stopped {
			continue // it does not run, so it will start with the right files
		}
		files, err := node.Settings(target, m, local(o, target, m))
		if err != nil || files.Revision() == o.Status.Node.Revision {
			continue
		}
		if core := o.Status.Node.Core; core != "" && core == files.Core() {
			continue // it is told whom to dial while it runs
		}
		step := RestartNode{On{s.want.Deployment, m.Name}, string(m.Role), "its configuration changes"}
		if m.Role == roster.RoleValidator {
			validator = append(validator, step)
			continue
		}
		others = append(others, step)
	}
	return others, validator
}

// local is what the host itself will render with.
func local(o ObservedHost, r *roster.Roster, m roster.Member) node.Local {
	l := node.LocalOf(o.Status.Listen)
	if o.Status.Enrolled == nil { // its record is lost; enrolling it again gives it the same addresses
		l = node.LocalOf(o.Host.Listen)
	}
	holder, held := r.Holder()
	mine := held && holder.Identity == m.Identity && r.Signer.PubKey == roster.KeyOf(signer(o))
	if o.Status.Signing.State == signing.Armed && (mine || m.Role == roster.RoleGenesisValidator) {
		l.KeyFile, l.StateFile = node.ArmedKey, node.ArmedState
	}
	return l
}

// brought says whether a host is a sentry on a server that somebody else has: it may not be there for us any more, and nothing that
// is paid for ends with it.
func brought(h deployment.Host) bool {
	return h.Role == roster.RoleSentry && h.OnMachine() && !h.Bought()
}

// destroy removes the hosts that are no longer wanted. By then no roster has them.
func (b *builder) destroy(s side, which func(deployment.Host) bool) {
	if s.have.Fork {
		return // one side of it may still have the host
	}
	var out []Step
	for _, name := range slices.Sorted(maps.Keys(s.have.Hosts)) {
		if _, wanted := s.want.Host(name); !wanted && which(s.have.Hosts[name].Host) {
			out = append(out, DestroyHost{On{s.want.Deployment, name}, string(s.have.Hosts[name].Host.Role)})
		}
	}
	b.stage(out)
}

// await ends a plan that changes anything with the proof that the validator signs, unless something keeps it silent.
func (b *builder) await(s side) {
	for _, h := range s.want.Hosts {
		if h.Role != roster.RoleValidator || b.target == nil {
			continue
		}
		if why := b.silent(h.Name, s.have.Hosts[h.Name]); why != "" {
			b.note("%s", why)
		} else if !b.plan.Empty() || !b.have.Signing {
			b.stage([]Step{AwaitSigning{On{s.want.Deployment, h.Name}}})
		}
	}
	for _, o := range s.have.Hosts {
		if o.Host.Role != roster.RoleValidator && (o.Status.Intent.Stopped || o.Status.Intent.Held) {
			b.note("%s is %s", o.Host.Name, intended(o.Status.Intent))
		}
	}
}

// intended says what a person wanted of a host, whether or not its agent runs to say so.
func intended(i api.Intent) string {
	if i.Held {
		return fmt.Sprintf("held by %s: nothing is changed or repaired there until 'pressenter hold --release'", i.By)
	}
	return "stopped by " + i.By
}

// silent says in words what keeps a validator from signing after the plan is done, or "".
func (b *builder) silent(name string, o ObservedHost) string {
	switch {
	case o.Status.Intent.Stopped:
		return fmt.Sprintf("%s is %s; it does not sign until 'pressenter start'", name, intended(o.Status.Intent))
	case o.Status.Intent.Held:
		return fmt.Sprintf("%s is %s", name, intended(o.Status.Intent))
	case o.Exists && o.Status.Signing.State == signing.Disarmed:
		return fmt.Sprintf("%s does not sign: %s", name, o.Status.Signing.Reason)
	case b.comesDisarmed(o):
		return fmt.Sprintf("%s does not sign before its key is armed: 'pressenter adopt %s --take-over' does that, or 'pressenter key arm'", name, name)
	case b.holdsOther(o):
		return fmt.Sprintf("%s does not sign: it does not hold the deployment's consensus key; restore that with 'pressenter key restore'", name)
	}
	return ""
}

// holdsOther says whether a validator is without the deployment's consensus key: it holds another one, or will be born
// with another.
func (b *builder) holdsOther(o ObservedHost) bool {
	if head := b.have.Own.Head; !o.Exists || head != nil && bare(o, head) {
		return b.haveKey() // a new host is born with a key of its own
	}
	return o.Status.Enrolled != nil && o.Status.Signing.State != "" && b.target.Signer.PubKey != roster.KeyOf(signer(o))
}

// haveKey says whether the deployment has a consensus key, which a host that is made now cannot hold.
func (b *builder) haveKey() bool {
	return b.have.hasKey()
}

// hasKey says whether a host is seen to hold the key that the roster knows the deployment by.
func hasKey(o ObservedHost, head *roster.Roster) bool {
	return o.Exists && !head.Signer.PubKey.IsZero() && roster.KeyOf(signer(o)) == head.Signer.PubKey
}

// signer is the consensus key that a host holds now.
func signer(o ObservedHost) ed25519.PublicKey {
	key := o.Status.Signing.PublicKey
	if len(key) != ed25519.PublicKeySize {
		return make(ed25519.PublicKey, ed25519.PublicKeySize)
	}
	return key
}

// OwnPeers are the practice network's other validators as our sentries dial them, id@host:port. Machines dial none: the
// others are on the operator's computer, which they cannot reach.
func OwnPeers(want Want, world map[string]api.Enrolled) []string {
	if a := want.Own.Adoption; a != nil {
		return slices.Clone(a.Peers)
	}
	if want.OnMachines() {
		return nil
	}
	return peers(want.World.Hosts, world)
}

// WorldPeers are our sentries as the practice network's other validators dial them, where it has to be that way round.
func WorldPeers(want Want, own map[string]api.Enrolled) []string {
	if !want.OnMachines() {
		return nil
	}
	return peers(want.Own.Hosts, own)
}

// peers are those hosts that have a public endpoint. One that is not enrolled yet stands there without its node id.
func peers(hosts []deployment.Host, enrolled map[string]api.Enrolled) []string {
	var out []string
	for _, h := range hosts {
		at := Endpoint(h)
		if at == "" {
			continue
		}
		id := unreadyNodeID
		if e, ok := enrolled[h.Name]; ok {
			id = e.NodeID
		}
		out = append(out, id+"@"+at)
	}
	return out
}
