package apply

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// farm supplies hosts whose agents are fakes: they are born, enrolled and obey, and no node runs.
type farm struct {
	local.Provider
	t  *testing.T
	mu sync.Mutex
	on map[string]*fakeAgent // by folder
	// missed is how many further commits are without the validator's signature.
	missed atomic.Int32
	height atomic.Int64 // of the newest commit; each look finds one more, unless the chain stands
	stands atomic.Bool
	sees   func(host string, at int64, seen *api.Seen) // what is changed of what a host sees
	// lives tells the machines that a host was from each other, by folder: each bears keys of its own. births counts them, by
	// the host's name.
	lives, births map[string]int
}

func (f *farm) StartAgent(_ context.Context, h deployment.Host) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.on[h.Folder] == nil {
		a := startAgent(f.t, h)
		a.status.Name, a.status.Agent.PID = h.Name, 1
		if h.Role == roster.RoleSentry {
			a.linked = []api.Peer{{NodeID: strings.Repeat("e", 40)}} // somebody of the world
		}
		a.more = f.answer
		if _, lived := f.lives[h.Folder]; !lived {
			f.lives[h.Folder] = f.births[h.Name]
			f.births[h.Name]++
		}
		a.life = f.lives[h.Folder]
		f.on[h.Folder] = a
	}
	return nil
}

func (f *farm) StopAgent(_ context.Context, h deployment.Host) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a := f.on[h.Folder]; a != nil {
		a.stop()
		delete(f.on, h.Folder)
	}
	return nil
}

func (f *farm) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	if err := f.StopAgent(ctx, h); err != nil {
		return err
	}
	f.mu.Lock()
	delete(f.lives, h.Folder)
	f.mu.Unlock()
	if keep != "" {
		if err := os.MkdirAll(keep, 0o700); err != nil {
			return err
		}
	}
	return os.RemoveAll(h.Folder)
}

// answer is what agents of a farm do beyond keeping rosters. The agent is locked.
func (f *farm) answer(a *fakeAgent, r *http.Request) (any, error) {
	switch r.Method + " " + r.URL.Path {
	case "POST " + api.PathEnroll:
		var req api.EnrollRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			return nil, err
		}
		return a.enroll(req), nil
	case "PUT " + api.PathGenesis:
		b, err := io.ReadAll(r.Body)
		sum := sha256.Sum256(b)
		a.status.GenesisHash = hex.EncodeToString(sum[:])
		return struct{}{}, err
	case "POST " + api.PathRotate:
		next := born(a.status.Name, "next mesh")
		a.status.Enrolled.NextMeshKey = next
		return *a.status.Enrolled, nil
	case "GET " + api.PathCommit: // everybody signs
		c := api.Commit{Height: f.height.Load(), Time: time.Now()}
		if !f.stands.Load() {
			c.Height = f.height.Add(1)
		}
		if f.missed.Add(-1) < 0 {
			c.Signers = []string{signing.Address(born("validator", "consensus"))}
		}
		return c, nil
	case "GET " + api.PathSeen:
		seen := api.Seen{Height: f.height.Load(), Time: time.Now(), InSet: true, Signed: f.missed.Load() <= 0}
		if !f.stands.Load() {
			seen.Height = f.height.Add(1)
		}
		at, err := strconv.ParseInt(r.FormValue("height"), 10, 64)
		seen.Signed = seen.Signed && at > 0
		if f.sees != nil {
			f.sees(a.status.Name, at, &seen)
		}
		return seen, err
	}
	return nil, errors.New("no such path")
}

func born(host, what string) []byte {
	sum := sha256.Sum256([]byte(host + what))
	return ed25519.NewKeyFromSeed(sum[:]).Public().(ed25519.PublicKey)
}

func (a *fakeAgent) enroll(r api.EnrollRequest) api.Enrolled {
	who := r.Name
	if a.life > 0 {
		who = fmt.Sprintf("%s, life %d", r.Name, a.life)
	}
	e := api.Enrolled{Name: r.Name, Identity: born(who, "identity"), NodeID: hex.EncodeToString(born(who, "node"))[:40]}
	if r.MeshDriver != "" {
		e.MeshDriver, e.MeshKey, e.MeshTLS = r.MeshDriver, born(who, "mesh"), born(who, "tls")
		e.MeshProgram = r.MeshProgramHash
	}
	if was := a.status.Enrolled; was != nil && was.MeshKey != nil {
		e.MeshKey, e.NextMeshKey = was.MeshKey, was.NextMeshKey
	}
	if roster.Role(r.Role) != roster.RoleSentry {
		e.Consensus, e.Backup = born(r.Name, "consensus"), []byte("sealed, of "+r.Name)
		a.status.Signing = api.SigningStatus{State: signing.Armed, PublicKey: e.Consensus}
	}
	a.status.Enrolled, a.status.Listen, a.status.Role = &e, r.Listen, r.Role
	return e
}

// obeys brings the agent's status up to its newest roster.
func (a *fakeAgent) obeys() {
	head := a.store.State().Head
	e := a.status.Enrolled
	if head == nil || e == nil {
		return
	}
	m, _ := head.Member(e.Name)
	if len(e.NextMeshKey) > 0 && m.Mesh.Key == roster.Key(e.NextMeshKey) {
		e.MeshKey, e.NextMeshKey = e.NextMeshKey, nil
	}
	a.status.Roster.Generation, a.status.Node.RestartToken = head.Generation, m.Restart
	a.status.Node.Answers, a.status.Node.Height, a.status.Node.Peers = true, 7, slices.Clone(a.linked)
	for _, o := range head.Members {
		if o.Role == roster.RoleSentry && !slices.Contains(a.unlinked, o.Name) {
			a.status.Node.Peers = append(a.status.Node.Peers, api.Peer{NodeID: o.NodeID})
		}
	}
}

// newFarm is a session on an empty folder. The genesis is there already: making one needs a real daemon.
func newFarm(t *testing.T) (*Session, *farm) {
	t.Helper()
	f := &farm{t: t, on: map[string]*fakeAgent{}, lives: map[string]int{}, births: map[string]int{}}
	s := &Session{
		Config: config.Practice("hub"), Dir: deployment.Dir(t.TempDir()), Daemon: executable(t, []byte("#!/bin/sh\n")), Provider: f, Who: "me",
	}
	must(t, os.MkdirAll(s.Dir.Genesis(), 0o700))
	must(t, os.WriteFile(filepath.Join(s.Dir.Genesis(), "genesis.json"), []byte("{}"), 0o600))
	t.Cleanup(s.Close)
	return s, f
}

// applies plans and does, and returns the plan's words.
func applies(t *testing.T, s *Session) []string {
	t.Helper()
	p, err := s.Plan(t.Context())
	must(t, err)
	var words []string
	for _, st := range p.Steps() {
		words = append(words, st.String())
	}
	must(t, s.Do(t.Context(), p))
	return words
}

func TestFromNothing(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	must(t, s.LockHosts(t.Context())) // there are none
	other := Session{Config: s.Config, Dir: s.Dir, Provider: f, Who: "you"}
	var locked *Locked
	if err := other.Open(); !errors.As(err, &locked) || locked.Who != "me" || locked.Since.IsZero() || locked.Error() == "" {
		t.Errorf("a second one: %v", err)
	}
	p, err := s.Plan(t.Context())
	must(t, err)
	b, err := MarshalSteps(p)
	var told struct {
		Changes bool
		Steps   []struct{ Type, Words string }
	}
	if err = errors.Join(err, json.Unmarshal(b, &told)); err != nil || !told.Changes || len(told.Steps) != len(p.Steps()) || told.Steps[0].Type != "StageDaemon" {
		t.Errorf("%v, %s", err, b)
	}
	var said []string
	s.Progress = func(e Event) {
		if e.Word != "" {
			said = append(said, e.Word)
		}
	}
	must(t, s.Do(t.Context(), p))
	if len(said) == 0 || !strings.HasSuffix(said[len(said)-1], " is signed by validator, as its peers see it") {
		t.Errorf("it said %q", said)
	}
	if words := applies(t, s); len(words) != 0 {
		t.Errorf("left to do: %q", words)
	}
	if s.Witnessed() == 0 || !s.Observed().Signing || s.Wanted().Own.Deployment != "hub" || s.Head() == nil {
		t.Errorf("witnessed %d, head %+v", s.Witnessed(), s.Head())
	}
	if backups, err := s.Backups(); err != nil || len(backups) != 1 {
		t.Errorf("backups %v, %v", backups, err)
	}
	must(t, s.LockHosts(t.Context()))
	for folder, a := range f.on {
		if a.locked != 1 {
			t.Errorf("%s was locked %d times", folder, a.locked)
		}
	}
	v, err := s.Validator()
	if err != nil || v.Host.Name != "validator" || s.AssignedKey() != roster.KeyOf(born("validator", "consensus")) {
		t.Errorf("validator %+v, %v", v, err)
	}
	// Another session knows all of it from the folder, and the program that was staged stays.
	must(t, os.Remove(s.Daemon))
	s.Close()
	again := &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: f, Who: "me"}
	must(t, again.Open())
	defer again.Close()
	must(t, again.Look(t.Context()))
	if words := applies(t, again); len(words) != 0 {
		t.Errorf("another session would: %q", words)
	}
}

// An operator who was away adopts what others published, before planning anything.
func TestLostInventoryAndRosters(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	head := s.Head().Hash()
	s.Close()
	must(t, os.RemoveAll(filepath.Join(s.Dir.Operator(), "rosters")))
	again := &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: f, Who: "me"}
	must(t, again.Open())
	defer again.Close()
	if words := applies(t, again); len(words) != 0 || again.Head().Hash() != head {
		t.Errorf("would %q, head %v", words, again.Head())
	}
}

// A sentry that leaves is out of the roster before it is destroyed.
func TestSentryLeaves(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	s.Config.Sentries = s.Config.Sentries[:1]
	words := applies(t, s)
	out := slices.IndexFunc(words, func(w string) bool { return w == "destroy host s2 (sentry): stop it and remove its folder" })
	if out < 1 || len(applies(t, s)) != 0 {
		t.Errorf("done: %q", words)
	}
	if _, known := s.own.inventory.Host("s2"); known || len(f.on) != 5 {
		t.Errorf("inventory %+v, %d agents", s.own.inventory.Hosts, len(f.on))
	}
	if !s.Head().Tombstoned(roster.KeyOf(born("s2", "identity"))) {
		t.Errorf("tombstones %+v", s.Head().Tombstones)
	}
}

// New mesh keys take three generations, and a host that cannot be asked keeps all of them as they are.
func TestRotateMesh(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	all, err := s.Hosts(nil)
	must(t, err)
	before := s.Head()
	s1, _ := s.own.inventory.Host("s1")
	must(t, f.StopAgent(t.Context(), s1))
	var away *api.Unreachable
	if err := s.RotateMesh(t.Context(), all); !errors.As(err, &away) || away.Host != "s1" {
		t.Errorf("one is away: %v", err)
	}
	for _, a := range f.on {
		if e := a.status.Enrolled; e.NextMeshKey != nil {
			t.Errorf("%s bore a key", e.Name)
		}
	}
	must(t, f.StartAgent(t.Context(), s1))
	f.on[s1.Folder].enroll(api.EnrollRequest{Name: "s1", Role: "sentry", MeshDriver: roster.MeshWireGuard, Listen: s1.Listen})
	f.on[s1.Folder].status.GenesisHash = s.Observed().Genesis
	applies(t, s)
	must(t, s.RotateMesh(t.Context(), all))
	applies(t, s)
	head := s.Head()
	for _, m := range head.Members {
		was, _ := before.Member(m.Name)
		if m.Mesh.Key == was.Mesh.Key || !m.Mesh.Next.IsZero() || m.Mesh.Key != roster.KeyOf(born(m.Name, "next mesh")) {
			t.Errorf("%s: %+v, was %+v", m.Name, m.Mesh, was.Mesh)
		}
	}
	if head.Generation != before.Generation+3 {
		t.Errorf("generation %d after %d", head.Generation, before.Generation)
	}
}

// A restart is over when the node is back with the new settings and has caught up.
func TestRestart(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	h, _ := s.own.inventory.Host("s1")
	a := f.on[h.Folder]
	states := []func(*api.NodeStatus){
		func(n *api.NodeStatus) { n.RestartToken = 0 },
		func(n *api.NodeStatus) { n.Answers = false },
		func(n *api.NodeStatus) { n.CatchingUp = true },
		func(n *api.NodeStatus) { n.CatchingUp, n.Height = false, 0 },
		func(*api.NodeStatus) {},
	}
	met := 0
	a.mu.Lock()
	a.onAsk = func(int) {
		if head := a.store.State().Head; head.Generation > 2 && met < len(states) {
			states[met](&a.status.Node)
			met++
		}
	}
	a.mu.Unlock()
	must(t, s.restart(t.Context(), s.own, h))
	if met != len(states) {
		t.Errorf("it waited for %d of %d states", met, len(states))
	}
	if m, _ := s.Head().Member("s1"); m.Restart != s.Head().Generation {
		t.Errorf("%+v", m)
	}
}

// A block that the validator missed is nothing to change; a validator that stays silent is.
func TestMissedBlock(t *testing.T) {
	s, f := newFarm(t)
	s.Config.Practice.BlockTime = 40 * time.Millisecond
	must(t, s.Open())
	applies(t, s)
	asked := int32(len(s.world.inventory.Hosts)) // at each look
	f.missed.Store(asked)
	if p, err := s.Plan(t.Context()); err != nil || !p.Empty() {
		t.Errorf("after one missed block: %v, %v", p.Steps(), err)
	}
	f.missed.Store(1 << 30)
	if p, err := s.Plan(t.Context()); err != nil || len(p.Steps()) != 1 {
		t.Errorf("while it is silent: %v, %v", p.Steps(), err)
	}
}

// A signature that others held before a change does not prove that the validator signs after it.
func TestOldSignatureProvesNothing(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	v, _ := s.own.inventory.Host("validator")
	f.stands.Store(true)
	looks := 0
	s.Progress = func(e Event) {
		if looks++; looks == 3 {
			f.stands.Store(false)
		}
	}
	must(t, s.awaitSigning(t.Context(), s.own, v))
	if looks < 3 {
		t.Errorf("it took %d looks at a chain that stands to say that the validator signs", looks)
	}
}

// Where the validator does not sign in time, what hosts say of it is told.
func TestWhySilent(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	for _, h := range s.world.inventory.Hosts {
		f.on[h.Folder].more = func(*fakeAgent, *http.Request) (any, error) { return nil, errors.New("it does not run") }
	}
	v, _ := s.own.inventory.Host("validator")
	ctx, cancel := context.WithCancel(t.Context())
	s.Progress = func(e Event) {
		if e.Word != "" {
			cancel()
		}
	}
	s1, _ := s.own.inventory.Host("s1")
	must(t, f.StopAgent(t.Context(), s1))
	err := s.awaitSigning(ctx, s.own, v)
	for _, want := range []string{"no commit of others", `reach agent of "s1"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err %v, want %q", err, want)
		}
	}
}

// What is destroyed keeps its keys unless somebody says otherwise, and what earlier ones kept is nobody's to delete.
func TestDestroy(t *testing.T) {
	for _, keys := range []bool{false, true} {
		s, f := newFarm(t)
		must(t, s.Open())
		applies(t, s)
		earlier := filepath.Join(string(s.Dir), "kept-earlier")
		must(t, os.MkdirAll(earlier, 0o700))
		var got reports
		kept, err := s.Destroy(t.Context(), keys, got.add)
		must(t, err)
		if len(f.on) != 0 || len(got.names) != 6 || got.names[0] != "validator" {
			t.Errorf("destroyed %v, %d agents run", got.names, len(f.on))
		}
		left, err := filepath.Glob(filepath.Join(string(s.Dir), "*"))
		must(t, err)
		want := []string{earlier}
		if !keys {
			want = append([]string{kept}, want...)
			slices.Sort(want)
			for _, path := range []string{"keyring.json", "backups", filepath.Join("removed", "validator")} {
				if _, err := os.Stat(filepath.Join(kept, path)); err != nil {
					t.Errorf("not kept: %v", err)
				}
			}
		}
		if slices.Sort(left); !slices.Equal(left, want) {
			t.Errorf("keys %v: left %v, want %v", keys, left, want)
		}
	}
}

// A key that is not the deployment's is brought to nobody.
func TestRestoreAnotherKey(t *testing.T) {
	s, _ := newFarm(t)
	must(t, s.Open())
	if _, err := s.Validator(); err == nil {
		t.Error("there is a validator before there is one")
	}
	applies(t, s)
	pub, private, err := ed25519.GenerateKey(nil)
	must(t, err)
	file := fmt.Sprintf(`{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`,
		signing.Address(pub), base64.StdEncoding.EncodeToString(pub), base64.StdEncoding.EncodeToString(private))
	if _, err := s.RestoreKey(t.Context(), []byte(file), 0); err == nil || !strings.Contains(err.Error(), "the deployment's key has "+signing.Address(born("validator", "consensus"))) {
		t.Errorf("err %v", err)
	}
	if _, err := s.RestoreKey(t.Context(), []byte("{}"), 0); err == nil {
		t.Error("no key was taken")
	}
}

// Arming is told until the key is armed, or until the host says why it is not.
func TestArm(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	v, _ := s.own.inventory.Host("validator")
	a := f.on[v.Folder]
	for name, tt := range map[string]struct {
		after api.SigningStatus
		want  string
	}{
		"armed":            {api.SigningStatus{State: signing.Armed}, ""},
		"somebody signs":   {api.SigningStatus{State: signing.Disarmed, Reason: "another node signs"}, "another node signs"},
		"it cannot be yet": {api.SigningStatus{State: signing.Disarmed, Reason: "its node does not run"}, "its node does not run"},
	} {
		watching := api.SigningStatus{State: signing.Disarmed, Watching: true}
		a.mu.Lock()
		a.more = func(_ *fakeAgent, r *http.Request) (any, error) { return watching, nil }
		a.status.Signing = tt.after
		a.mu.Unlock()
		var told []api.SigningStatus
		err := s.Arm(t.Context(), func(st api.SigningStatus) { told = append(told, st) })
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if len(told) != 2 || !told[0].Watching || told[1].State != tt.after.State {
			t.Errorf("%s: told %+v", name, told)
		}
	}
}

// A keyring comes back from its recovery copy, and never in place of one that is there.
func TestRecoverKeyring(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	var copied bytes.Buffer
	code, err := s.RecoveryCopy(&copied)
	must(t, err)
	if err := s.RestoreKeyring(bytes.NewReader(copied.Bytes()), code); err == nil || !strings.Contains(err.Error(), "not changed") {
		t.Errorf("over one that is there: %v", err)
	}
	s.Close()
	must(t, os.Remove(filepath.Join(s.Dir.Operator(), "keyring.json")))
	again := &Session{Config: s.Config, Dir: s.Dir, Provider: f, Who: "me"}
	must(t, again.Open())
	defer again.Close()
	var no *plan.Refusal
	if _, err := again.Plan(t.Context()); !errors.As(err, &no) || !strings.Contains(no.Why, "keyring") {
		t.Errorf("without a keyring: %v", err)
	}
	if err := again.RestoreKeyring(bytes.NewReader(copied.Bytes()), "wrong"); err == nil {
		t.Error("it came back with a wrong code")
	}
	must(t, again.RestoreKeyring(bytes.NewReader(copied.Bytes()), code))
	if words := applies(t, again); len(words) != 0 {
		t.Errorf("left to do: %q", words)
	}
}
