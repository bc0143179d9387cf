package apply

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
)

// fakeAgent keeps rosters as an agent does and says what it is told to say.
type fakeAgent struct {
	store *rosterdir.Store

	mu       sync.Mutex
	status   api.HostStatus
	follows  bool // it obeys what it is told
	asked    int
	onAsk    func(int)
	locked   int
	closed   bool
	bad      bool            // it refuses everything but to be looked at
	refused  *api.LockHolder // who has its lock, as it says
	life     int             // of the host that it is
	unlinked []string        // sentries that its node has no link to
	linked   []api.Peer      // others that it has one to
	stop     func()
	more     func(*fakeAgent, *http.Request) (any, error) // what else it answers
	intent   api.Intent                                   // the last that it was told
}

// says changes the build that the agent is of.
func (a *fakeAgent) says(build string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Agent.Build = build
}

func startAgent(t *testing.T, h deployment.Host) *fakeAgent {
	t.Helper()
	must(t, os.MkdirAll(h.Folder, 0o700))
	store, err := rosterdir.Open(filepath.Join(h.Folder, "rosters"))
	must(t, err)
	a := &fakeAgent{store: store, follows: true}
	l, err := api.ListenIn(h.Folder, api.SocketName)
	must(t, err)
	s := &http.Server{Handler: a}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	a.stop = sync.OnceFunc(func() {
		a.mu.Lock() // who gave up asking does not wait for what is still written
		defer a.mu.Unlock()
		a.closed = true
		_ = s.Close()
		<-done
	})
	t.Cleanup(a.stop)
	return a
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	if a.bad && r.URL.Path != api.PathStatus {
		w.WriteHeader(http.StatusInternalServerError)
		answer(api.Problem{Code: "internal", Error: "no"})
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET " + api.PathStatus:
		if a.more != nil {
			a.obeys()
		}
		if a.asked++; a.onAsk != nil {
			a.onAsk(a.asked)
		}
		st := a.status
		st.Roster.Heads = a.heads()
		if a.follows && len(st.Roster.Heads) == 1 {
			st.Roster.Applied = st.Roster.Heads[0]
		}
		answer(st)
	case "GET " + api.PathRoster:
		var reply api.RosterReply
		for _, e := range a.store.Envelopes() {
			reply.Envelopes = append(reply.Envelopes, roster.EncodeEnvelope(e))
		}
		answer(reply)
	case "PUT " + api.PathRoster:
		var req api.PublishRequest
		err := json.NewDecoder(r.Body).Decode(&req)
		var envs []roster.Envelope
		for _, b := range req.Envelopes {
			e, decodeErr := roster.DecodeEnvelope(b)
			err = errors.Join(err, decodeErr)
			envs = append(envs, e)
		}
		if err == nil && len(envs) > 0 {
			if err = a.store.Publish(envs); req.Evidence {
				err = a.store.Learn(envs)
			}
		}
		if err != nil {
			w.WriteHeader(http.StatusConflict)
			answer(api.Problem{Code: "conflict", Error: err.Error()})
			return
		}
		a.status.Roster.Learned = a.status.Roster.Learned || req.Newest
		answer(api.RosterStatus{})
	case "POST " + api.PathLock:
		if a.refused != nil {
			w.WriteHeader(http.StatusConflict)
			answer(api.Problem{Code: "locked", Error: "no", Lock: a.refused})
			return
		}
		a.locked++
	case "PUT " + api.PathIntent:
		a.intent = api.Intent{}
		if err := json.NewDecoder(r.Body).Decode(&a.intent); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.status.Intent = a.intent
		answer(a.intent)
	default:
		if a.more == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		v, err := a.more(a, r)
		if err != nil {
			w.WriteHeader(http.StatusConflict)
			v = api.Problem{Code: "conflict", Error: err.Error()}
		}
		answer(v)
	}
}

func (a *fakeAgent) heads() []string {
	var out []string
	for _, h := range a.store.State().Heads {
		out = append(out, h.String())
	}
	return out
}

// operator is a session on a deployment of a validator and two sentries, whose agents are fakes.
type operator struct {
	*Session
	hosts  map[string]deployment.Host
	agents map[string]*fakeAgent
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	dir := deployment.Dir(t.TempDir())
	k, err := keyring.New("hub")
	must(t, err)
	store, err := dir.Rosters()
	must(t, err)
	o := &operator{hosts: map[string]deployment.Host{}, agents: map[string]*fakeAgent{}}
	side := &sideState{dir: dir, rosters: store, keyring: k}
	first := roster.New("hub", []roster.Admin{{Name: "op", Key: roster.KeyOf(k.AdminPublic()), Capabilities: roster.AllCapabilities()}}, roster.Chain{ID: "hub-1"})
	for i, name := range []string{"s1", "s2", "validator"} {
		role := roster.RoleSentry
		if name == "validator" {
			role = roster.RoleValidator
		}
		h := deployment.Host{Name: name, Role: role, Folder: filepath.Join(dir.Hosts(), name)}
		o.hosts[name] = h
		side.inventory.Put(h)
		first.Members = append(first.Members, roster.Member{Name: name, Role: role, Identity: roster.Key{byte(i + 1)}, NodeID: strings.Repeat(string("abc"[i]), 40), Since: 1})
	}
	o.Session = &Session{Dir: dir, Provider: local.Provider{}, own: side, world: &sideState{}, want: plan.Want{Own: side.inventory}}
	must(t, o.sign(side, first))
	return o
}

// start starts fake agents that know what we know.
func (o *operator) start(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		o.agents[name] = startAgent(t, o.hosts[name])
		must(t, o.agents[name].store.Publish(o.own.rosters.Envelopes()))
	}
}

func (o *operator) next(change func(*roster.Roster)) *roster.Roster {
	n := roster.Next(o.own.rosters.State().Head)
	change(n)
	return n
}

func TestPublishReachesEveryHost(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	n := o.next(func(r *roster.Roster) { r.Chain.Denom = "uone" })
	must(t, o.publish(t.Context(), o.own, n))
	for name, a := range o.agents {
		if s := a.store.State(); s.Head == nil || s.Head.Hash() != n.Hash() {
			t.Errorf("%s has %+v", name, s)
		}
	}
	must(t, o.pushAll(t.Context(), o.own)) // and again
}

// Where somebody else was first, that is an error, and the host keeps what it had.
func TestConflictIsAnError(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	other, err := roster.Sign(o.next(func(r *roster.Roster) { r.Chain.Denom = "theirs" }), o.own.keyring.AdminKey())
	must(t, err)
	must(t, o.agents["s2"].store.Publish([]roster.Envelope{other}))
	err = o.publish(t.Context(), o.own, o.next(func(r *roster.Roster) { r.Chain.Denom = "ours" }))
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != "conflict" || refused.Host != "s2" {
		t.Fatalf("err %v", err)
	}
	if h := o.agents["s2"].store.State().Head; h.Hash() != other.Hash() {
		t.Errorf("s2 has %+v", h)
	}
}

// A plan is not carried out on a roster that it was not made for.
func TestAdoptBeforePublishing(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	must(t, o.adoptAll(t.Context(), o.own))
	theirs, err := roster.Sign(o.next(func(r *roster.Roster) { r.Chain.Denom = "theirs" }), o.own.keyring.AdminKey())
	must(t, err)
	must(t, o.agents["s1"].store.Publish([]roster.Envelope{theirs}))
	if err := o.adoptAll(t.Context(), o.own); err == nil || !strings.Contains(err.Error(), "again") {
		t.Errorf("err %v", err)
	}
	if o.own.rosters.State().Head.Hash() != theirs.Hash() {
		t.Error("it was not adopted")
	}
	must(t, o.adoptAll(t.Context(), o.own))
}

// A sentry that is to go, or has gone, may be away; a member may not, and the validator never.
func TestAway(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "validator") // s2's agent is dead
	var away *api.Unreachable
	if err := o.adoptAll(t.Context(), o.own); !errors.As(err, &away) {
		t.Errorf("a wanted host is away: %v", err)
	}
	o.want.Own.Drop("s2")
	if err := o.adoptAll(t.Context(), o.own); err != nil {
		t.Errorf("a dead sentry cannot be removed: %v", err)
	}
	if err := o.publish(t.Context(), o.own, o.next(func(r *roster.Roster) { r.Chain.Denom = "uone" })); !errors.As(err, &away) {
		t.Errorf("a member is away: %v", err)
	}
	if err := o.publish(t.Context(), o.own, o.next(func(r *roster.Roster) { r.Remove("s2") })); err != nil {
		t.Errorf("a sentry that left is away: %v", err)
	}
	o = newOperator(t)
	o.start(t, "s1", "s2")
	if err := o.publish(t.Context(), o.own, o.next(func(r *roster.Roster) { r.Remove("validator") })); !errors.As(err, &away) {
		t.Errorf("nobody knows whether the validator still signs: %v", err)
	}
}

// A host counts only when it says that it follows, and why it does not is told.
func TestAcknowledged(t *testing.T) {
	armed := api.SigningStatus{State: "armed", PublicKey: make([]byte, ed25519.PublicKeySize)}
	for name, tt := range map[string]struct {
		status  api.HostStatus
		follows bool
		want    string
	}{
		"follows":           {api.HostStatus{}, true, ""},
		"does not":          {api.HostStatus{Reason: "no genesis yet"}, false, "no genesis yet"},
		"says nothing":      {api.HostStatus{}, false, "not followed"},
		"held and armed":    {api.HostStatus{Intent: api.Intent{Held: true}, Signing: armed}, false, "held"},
		"held and disarmed": {api.HostStatus{Intent: api.Intent{Held: true}}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOperator(t)
			o.start(t, "validator")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a := o.agents["validator"]
			a.status, a.follows = tt.status, tt.follows
			a.onAsk = func(n int) {
				if n > 1 {
					cancel()
				}
			}
			err := o.acknowledged(ctx, o.own, o.hosts["validator"])
			if (err == nil) != (tt.want == "") {
				t.Fatalf("err %v, want %q", err, tt.want)
			}
		})
	}
}

// What keeps a host behind is told while it lasts, and at the end.
func TestWhyItTakesLong(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := o.agents["s1"]
	a.follows, a.status.Roster.Behind = false, "its mesh process has not taken the roster: no space left on device"
	a.status.Reason = "another word"
	var said []Event
	o.Progress = func(e Event) { said = append(said, e) }
	a.onAsk = func(n int) {
		if n > wordAfter+1 {
			cancel()
		}
	}
	err := o.acknowledged(ctx, o.own, o.hosts["s1"])
	if err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("at the end: %v", err)
	}
	if len(said) != 1 || !said[0].Why || !strings.Contains(said[0].Word, "waiting for s1: its mesh process") {
		t.Errorf("meanwhile: %+v", said)
	}
}

// A fork is healed on every host in one go, whatever each of them had seen of it.
func TestHeal(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	var sides []roster.Envelope
	for _, denom := range []string{"uone", "utwo"} {
		e, err := roster.Sign(o.next(func(r *roster.Roster) { r.Chain.Denom = denom }), o.own.keyring.AdminKey())
		must(t, err)
		sides = append(sides, e)
	}
	must(t, o.agents["s1"].store.Publish(sides[:1]))
	must(t, o.agents["s2"].store.Publish(sides[1:]))
	must(t, o.own.rosters.Learn(sides))
	must(t, o.heal(t.Context(), o.own))
	head := o.own.rosters.State().Head
	if head == nil || head.Signer.Holder != "" {
		t.Fatalf("after healing: %+v", head)
	}
	for name, a := range o.agents {
		if s := a.store.State(); s.Fork || s.Head.Hash() != head.Hash() {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestDestroyRefusesMembers(t *testing.T) {
	o := newOperator(t)
	o.start(t, "s1", "s2", "validator")
	if err := o.destroyHost(t.Context(), o.own, o.hosts["s2"]); err == nil {
		t.Error("a member was destroyed")
	}
	var sides []roster.Envelope
	for _, denom := range []string{"uone", "utwo"} {
		e, err := roster.Sign(o.next(func(r *roster.Roster) { r.Chain.Denom = denom }), o.own.keyring.AdminKey())
		must(t, err)
		sides = append(sides, e)
	}
	must(t, o.own.rosters.Learn(sides))
	if err := o.destroyHost(t.Context(), o.own, o.hosts["s2"]); err == nil {
		t.Error("a member was destroyed while the roster was forked")
	}
	if there, err := o.Provider.Exists(t.Context(), o.hosts["s2"]); err != nil || !there {
		t.Error("its folder is gone", err)
	}
}
