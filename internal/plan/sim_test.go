package plan

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/provision"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// sim is a world in memory on which steps are done as apply does them.
type sim struct {
	config config.Deployment
	saved  [2]deployment.Inventory // world, own
	logs   [2]*roster.Log
	admins [2]ed25519.PrivateKey
	hosts  [2]map[string]*simHost
	port   int
	births int

	staged, prepared bool
	genesis          string
	replaceLost      bool
	looked           bool
	taken            ed25519.PublicKey // the key that a server brings which is taken over
	build            string
	guest            ed25519.PublicKey // who joined last, in the property test

	replace string              // the sentry that the next plan replaces
	cancel  bool                // takes that back
	old     map[string]*simHost // machines that were replaced
	moves   string              // as Facts.Replace
	lost    map[string]bool     // machines that nobody reaches
	linked  map[string]bool     // those of them to which the validator has its link all the same
	sold    map[string]bool     // machines that are paid for
}

type simHost struct {
	agent, learned bool
	build          string
	enrolled       *api.Enrolled
	listen         api.Listen
	backed         bool
	genesis        bool
	heads          []string
	revision, core string
	follows        []string // ids of those that its node dials
	restart        uint64
	intent         api.Intent
	signing        string
	key            ed25519.PublicKey
}

func newSim(c config.Deployment) *sim {
	return &sim{
		config: c, port: 21000, hosts: [2]map[string]*simHost{{}, {}}, old: map[string]*simHost{}, lost: map[string]bool{}, linked: map[string]bool{}, sold: map[string]bool{},
	}
}

func (s *sim) key(what string) ed25519.PrivateKey {
	s.births++
	seed := sha256.Sum256(fmt.Append(nil, what, s.births))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (s *sim) resolve() Want {
	w, err := Resolve(s.config, Facts{
		Dir: "/deployment", World: s.saved[0], Own: s.saved[1], Daemon: deployment.Daemon{Name: "practiced", SHA256: hash("practiced")},
		Ports:    func() (string, error) { s.port++; return fmt.Sprintf("127.0.0.1:%d", s.port), nil },
		PublicOf: func(address string) (string, error) { return address, nil },
		Replace:  s.moves,
	})
	if err != nil {
		panic(err)
	}
	if s.genesis != "" {
		w.Chain.GenesisSHA256, err = roster.ParseHash(s.genesis)
		if err != nil {
			panic(err)
		}
	}
	w.ReplaceLost, w.Build, w.Looked = s.replaceLost, s.build, s.looked
	return w
}

func hash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// observe is what apply would see.
func (s *sim) observe(w Want) Observed {
	o := Observed{Staged: s.staged, Genesis: s.genesis, Prepared: s.prepared}
	for i, want := range []deployment.Inventory{w.World, w.Own} {
		side := ObservedDeployment{Keyring: s.admins[i] != nil, Hosts: map[string]ObservedHost{}}
		if s.logs[i] != nil {
			state := s.logs[i].State()
			side.Head, side.Fork = state.Head, state.Fork
			for _, h := range state.Heads {
				side.Heads = append(side.Heads, h.String())
			}
		}
		for _, h := range slices.Concat(want.Hosts, s.saved[i].Hosts) {
			side.Hosts[h.Name] = s.observeHost(i, h)
		}
		for _, h := range s.saved[i].Replaced {
			side.Replaced = append(side.Replaced, s.observed(i, h, s.old[h.Machine()]))
		}
		if i == 0 {
			o.World = side
		} else {
			o.Own = side
		}
	}
	o.Machines = s.changes(w)
	for _, h := range s.saved[1].All() {
		if h.Bought() && h.Address != "" {
			o.Bought = append(o.Bought, h)
		}
	}
	v := s.hosts[1]["validator"]
	o.Signing = v != nil && s.signs(v) && !v.intent.Stopped
	return o
}

func (s *sim) signs(v *simHost) bool {
	state := s.logs[1]
	if state == nil || v.revision == "" || v.signing != signing.Armed {
		return false
	}
	r := state.State().Effective
	return r != nil && r.Signer.Holder == "validator" && r.Signer.PubKey == roster.KeyOf(v.key)
}

// changes are those of the machines.
func (s *sim) changes(w Want) []provision.Change {
	var out []provision.Change
	for _, h := range w.Own.Hosts {
		if h.Bought() && !s.sold[h.Machine()] {
			out = append(out, provision.Change{Kind: provision.Server, Host: h.Machine(), Action: provision.Create})
		}
	}
	for machine := range s.sold {
		if _, wanted := w.Own.OnMachineOf(machine); !wanted {
			out = append(out, provision.Change{Kind: provision.Server, Host: machine, Action: provision.Destroy})
		}
	}
	slices.SortFunc(out, func(a, b provision.Change) int { return strings.Compare(a.Host, b.Host) })
	return out
}

func (s *sim) observeHost(i int, h deployment.Host) ObservedHost {
	return s.observed(i, h, s.hosts[i][h.Name])
}

func (s *sim) observed(i int, h deployment.Host, v *simHost) ObservedHost {
	o := ObservedHost{Host: h}
	if v == nil {
		return o
	}
	if s.lost[h.Machine()] {
		o.Exists, o.Away = true, "no route to host"
		return o
	}
	o.Exists, o.Agent = true, v.agent
	o.Status = api.HostStatus{Name: h.Name, Role: string(h.Role), Enrolled: v.enrolled, Intent: v.intent}
	o.Status.Node.Revision, o.Status.Node.Core, o.Status.Node.RestartToken = v.revision, v.core, v.restart
	o.Status.Node.Answers = v.revision != ""
	for _, id := range v.follows {
		if s.runs(id) {
			o.Status.Node.Peers = append(o.Status.Node.Peers, api.Peer{NodeID: id})
		}
	}
	if v.enrolled != nil {
		o.Status.Listen = v.listen
	}
	if v.genesis {
		o.Status.GenesisHash = s.genesis
	}
	if v.agent {
		o.Status.Roster = api.RosterStatus{Heads: v.heads, Learned: v.learned}
		o.Status.Agent.Build = v.build
	}
	o.Status.Signing = api.SigningStatus{State: v.signing, PublicKey: v.key} // seen without the agent or an enrolment as well
	if v.signing == signing.Disarmed {
		o.Status.Signing.Reason = "its silence is not proven yet"
	}
	switch {
	case !v.agent:
		o.Status.Reason = "its agent does not run"
	case v.intent.Stopped:
		o.Status.Reason = "stopped by me"
	case v.intent.Held:
		o.Status.Reason = "held by me"
	}
	o.BackedUp = v.backed
	return o
}

// runs says whether a node of that id runs anywhere, reached by the operator or not.
func (s *sim) runs(id string) bool {
	for machine, v := range s.machines() {
		if v != nil && v.enrolled != nil && v.enrolled.NodeID == id {
			return v.revision != "" && (!s.lost[machine] || s.linked[machine])
		}
	}
	return false
}

// machines are those of the deployment's own hosts, and those that were replaced.
func (s *sim) machines() map[string]*simHost {
	out := maps.Clone(s.old)
	for _, h := range s.saved[1].Hosts {
		out[h.Machine()] = s.hosts[1][h.Name]
	}
	return out
}

var errUnreachable = errors.New("unreachable")

// do does one step.
func (s *sim) do(w *Want, step Step) error {
	i, want := 1, w.Own
	if step.Where() == w.World.Deployment {
		i, want = 0, w.World
	}
	h, known := s.saved[i].Host(step.Host())
	if !known || !h.Exists() {
		h, _ = want.Host(step.Host())
	}
	v := s.hosts[i][step.Host()]
	switch st := step.(type) {
	case StageDaemon:
		s.staged = true
	case CreateKeyring:
		s.admins[i] = s.key("admin")
	case PrepareGenesis:
		s.prepared = true
	case MakeGenesis:
		s.genesis = hash("genesis")
	case CreateHost:
		s.saved[i].ChainID = want.ChainID
		h.Made = h.OnMachine()
		s.saved[i].Put(h)
		if v == nil {
			s.hosts[i][h.Name] = &simHost{}
		}
	case StartAgent:
		v.agent, v.build = true, s.build
	case RestartAgent:
		v.learned, v.build = false, s.build
	case Enroll:
		if v.enrolled == nil {
			v.enrolled = s.enroll(v, h)
		}
		s.place(v, h, want.MeshDriver)
		v.backed = true
	case PlaceInMesh:
		h, _ := want.Host(h.Name)
		s.saved[i].Put(h)
		s.place(v, h, want.MeshDriver)
	case KeepBackup:
		v.backed = true
	case InstallGenesis:
		v.genesis = true
		return s.turn(i, h.Name)
	case PublishRoster:
		return s.publishTarget(i, *w, want)
	case SyncRoster:
		return s.push(i, step.Host())
	case RestartNode:
		if err := s.publish(i, Restart(s.logs[i].State().Head, st.Name)); err != nil {
			return err
		}
		return s.pushAll(i)
	case DestroyHost:
		if r := s.logs[i].State().Head; r == nil {
			return errors.New("forked")
		} else if _, member := r.Member(h.Name); member {
			return fmt.Errorf("host %q is still in the roster", h.Name)
		}
		delete(s.hosts[i], h.Name)
		s.saved[i].Drop(h.Name)
	case HealFork:
		return s.heal(i)
	case AwaitSigning:
		if !s.signs(v) {
			return errors.New("no commit holds a signature")
		}
	default:
		return s.doMachines(w, v, step)
	}
	return nil
}

// doMachines does one step of those that give a sentry another machine.
func (s *sim) doMachines(w *Want, v *simHost, step Step) error {
	switch st := step.(type) {
	case BeginReplace:
		next, identity := Successor(st.Name, s.config, s.saved[1], s.logs[1].State().Head)
		was, _ := s.saved[1].Host(st.Name)
		s.old[was.Machine()] = s.hosts[1][st.Name]
		delete(s.hosts[1], st.Name)
		s.saved[1].Replace(next, identity)
	case TakeBack:
		back, err := TakenBack(st.Name, s.saved[1], ObservedDeployment{Head: s.logs[1].State().Head})
		if err != nil {
			return err
		}
		next, _ := s.saved[1].Host(st.Name)
		runs := s.hosts[1][st.Name]
		s.hosts[1][st.Name] = s.old[back.Machine()]
		delete(s.old, back.Machine())
		if s.saved[1].TakeBack(back.Machine()); runs != nil {
			s.old[next.Machine()] = runs
		}
	case ChangeMachines:
		for _, c := range st.Changes {
			s.sold[c.Host] = true
		}
		for _, h := range w.Own.Hosts {
			if s.sold[h.Machine()] {
				h.Address, h.Public = "pressenter@"+h.Machine(), address(h.Machine())
				s.saved[1].Put(h)
				w.Own.Put(h)
			}
		}
	case ReturnMachines:
		for _, c := range st.Changes {
			if s.old[c.Host] != nil {
				return fmt.Errorf("%s is given back while something runs there", c.Host)
			}
			delete(s.sold, c.Host)
		}
	case TakeOut:
		next := roster.Next(s.logs[1].State().Head)
		next.Remove(st.Name)
		if err := s.publish(1, next); err != nil {
			return err
		}
		return s.pushAll(1)
	case AwaitJoined:
		if m, is := s.logs[1].State().Head.Member(st.Name); !is || v == nil || v.revision == "" || m.Identity != roster.Key(v.enrolled.Identity) {
			return fmt.Errorf("%s has not joined", st.Name)
		}
		if val := s.hosts[1]["validator"]; val.revision != "" && !val.intent.Stopped && !slices.Contains(val.follows, v.enrolled.NodeID) {
			return fmt.Errorf("the validator does not dial %s", st.Name)
		}
	case RemoveReplaced:
		return s.removeReplaced(st.Machine)
	default:
		return fmt.Errorf("step %T", step)
	}
	return nil
}

// address is where a machine of that name is: an address of its own each.
func address(machine string) string {
	sum := sha256.Sum256([]byte(machine))
	return fmt.Sprintf("10.%d.%d.%d", sum[0], sum[1], sum[2])
}

// removeReplaced removes a machine that was replaced, once nobody has it and its successor runs.
func (s *sim) removeReplaced(machine string) error {
	i := slices.IndexFunc(s.saved[1].Replaced, func(h deployment.Host) bool { return h.Machine() == machine })
	if i < 0 {
		return fmt.Errorf("%s was removed already", machine)
	}
	old := s.saved[1].Replaced[i]
	if _, member := s.logs[1].State().Head.MemberByIdentity(old.Identity); member {
		return fmt.Errorf("%s is still in the roster", machine)
	}
	if v := s.hosts[1][old.Name]; v == nil || v.revision == "" {
		return fmt.Errorf("%s is removed before its successor runs", machine)
	}
	delete(s.old, machine)
	s.saved[1].DropReplaced(machine)
	return nil
}

func (s *sim) enroll(v *simHost, h deployment.Host) *api.Enrolled {
	e := &api.Enrolled{Name: h.Name, Identity: s.key("identity").Public().(ed25519.PublicKey)}
	id := sha256.Sum256(e.Identity)
	e.NodeID = hex.EncodeToString(id[:20])
	v.signing = signing.None
	if v.key != nil { // it is there, only the record was lost
		e.Consensus = v.key
	} else if s.taken != nil && h.Role == roster.RoleValidator {
		v.key, v.signing, e.Consensus, e.Backup = s.taken, signing.Disarmed, s.taken, []byte("sealed")
	} else if h.Role != roster.RoleSentry {
		v.key = s.key("consensus").Public().(ed25519.PublicKey)
		v.signing, e.Consensus, e.Backup = signing.Armed, v.key, []byte("sealed")
	}
	return e
}

// place gives a host its place in the mesh, as enrolling it again does.
func (s *sim) place(v *simHost, h deployment.Host, driver string) {
	v.listen = h.Listen
	if e := *v.enrolled; driver != "" && (len(e.MeshKey) == 0 || e.MeshDriver != driver) {
		e.MeshDriver = driver
		e.MeshKey, e.MeshTLS = s.key("tunnel").Public().(ed25519.PublicKey), s.key("relay").Public().(ed25519.PublicKey)
		v.enrolled = &e
	}
}

func (s *sim) enrolled(i int) map[string]api.Enrolled {
	out := map[string]api.Enrolled{}
	for name, v := range s.hosts[i] {
		if v.enrolled != nil {
			out[name] = *v.enrolled
		}
	}
	return out
}

// plan plans as a session does.
func (s *sim) plan() (Want, Plan, error) {
	s.moves = s.replace
	w := s.resolve()
	o := s.observe(w)
	s.moves = ""
	if s.replace != "" && s.cancel {
		before := s.saved[1]
		back, err := TakenBack(s.replace, before, o.Own)
		if err != nil {
			return w, Plan{}, err
		}
		s.saved[1].TakeBack(back.Machine())
		w = s.resolve()
		w.Back = s.replace
		o.Own.TakeBack(back, s.saved[1])
		o.Machines = s.changes(w)
		s.saved[1] = before // the first step notes it
	} else if s.replace != "" {
		how, err := Replace(s.replace, s.config, s.saved[1], o.Own)
		if err != nil {
			return w, Plan{}, err
		}
		switch how {
		case InPlace:
			w.Replace = s.replace
		case Beside:
			before := s.saved[1]
			next, identity := Successor(s.replace, s.config, before, o.Own.Head)
			s.saved[1].Replace(next, identity)
			w = s.resolve()
			w.Begin = s.replace
			wanted, _ := w.Own.Host(s.replace)
			s.saved[1] = before // the first step notes it
			o.Own.Retire(wanted, identity)
			o.Machines = s.changes(w)
		case Apply:
		}
	}
	p, err := Make(w, o)
	return w, p, err
}

// apply makes one plan and does it, until the crash'th step; 0 for no crash.
func (s *sim) apply(crash int) (Plan, error) {
	w, p, err := s.plan()
	if err != nil {
		return p, err
	}
	n := 0
	for _, stage := range p.Stages {
		for _, step := range stage {
			if n++; n == crash {
				return p, errCrash
			}
			if err := s.do(&w, step); err != nil {
				return p, fmt.Errorf("%s: %w", step, err)
			}
		}
	}
	return p, nil
}

var errCrash = errors.New("crashed")
