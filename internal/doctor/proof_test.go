package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/hiding"
	"github.com/pressenter/pressenter/internal/p2p"
	"github.com/pressenter/pressenter/internal/roster"
)

var (
	validatorID = strings.Repeat("a", 40)
	sentryID    = strings.Repeat("b", 40)
	worldID     = strings.Repeat("c", 40)
)

// agents are fake: each answers for a host from memory, over a real socket.
type agents map[string]*agent

type agent struct {
	folder string
	status api.HostStatus
	peers  api.PeersReply
}

func (a agents) Client(h deployment.Host) *api.Client { return api.Dial(h.Name, a[h.Name].folder) }
func (a agents) Inspect(context.Context, deployment.Host) (api.HostStatus, error) {
	return api.HostStatus{}, nil
}

func (a agents) Exists(_ context.Context, h deployment.Host) (bool, error) {
	return a[h.Name] != nil, nil
}

func (a agents) host(name string, world bool, role roster.Role) Host {
	st := a[name].status
	return Host{
		Host: deployment.Host{Name: name, Role: role, Folder: a[name].folder, Listen: st.Listen}, World: world, Met: []string{st.Listen.P2P},
		Exists: true, Agent: true, Status: st,
	}
}

// fakeNetwork is a validator, a sentry and somebody of the world, as agents tell of them. No node runs: nobody answers strangers.
func fakeNetwork(t *testing.T) (agents, []Host) {
	t.Helper()
	peer := func(id, name string) api.Peer {
		return api.Peer{NodeID: id, Moniker: name, RemoteIP: "127.0.0.1", Listen: "tcp://127.0.0.1:1"}
	}
	all := agents{
		"validator": {peers: api.PeersReply{Peers: []api.Peer{peer(sentryID, "s1")}}},
		"s1":        {peers: api.PeersReply{Peers: []api.Peer{peer(validatorID, "node"), peer(worldID, "w1")}}},
		"w1":        {peers: api.PeersReply{Peers: []api.Peer{peer(sentryID, "s1")}}},
	}
	ids := map[string]string{"validator": validatorID, "s1": sentryID, "w1": worldID}
	for name, a := range all {
		a.folder = t.TempDir()
		a.status = api.HostStatus{
			Name: name, Enrolled: &api.Enrolled{Name: name, NodeID: ids[name]}, Listen: api.Listen{P2P: closedPort(t), RPC: closedPort(t)},
			Node: api.NodeStatus{DaemonPID: 1, Answers: true, NodeID: ids[name]},
		}
		serve(t, a)
	}
	return all, []Host{
		all.host("validator", false, roster.RoleValidator), all.host("s1", false, roster.RoleSentry), all.host("w1", true, roster.RoleGenesisValidator),
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func serve(t *testing.T, a *agent) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathPeers, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(a.peers) })
	mux.HandleFunc("GET "+api.PathStatus, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(a.status) })
	l, err := api.ListenIn(a.folder, api.SocketName)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}

func TestQuickProof(t *testing.T) {
	entry := func(id string) api.AddressEntry {
		return api.AddressEntry{NodeID: strings.ToUpper(id), Addr: "127.0.0.1:9"}
	}
	for _, tt := range []struct {
		name    string
		spoil   func(agents)
		code    string
		subject string
		want    Verdict
	}{
		{"good", func(agents) {}, CodeHidden, "validator", NotChecked},
		{"good", func(agents) {}, hiding.CodePeers, "validator", OK},
		{"good", func(agents) {}, hiding.CodeKnock, "validator", OK},
		{"good", func(agents) {}, hiding.CodeAnswers, "s1", NotChecked},
		{"a stranger is its peer", func(a agents) {
			a["validator"].peers.Peers = append(a["validator"].peers.Peers, api.Peer{NodeID: worldID})
		}, hiding.CodePeers, "validator", Critical},
		{"it is in a book", func(a agents) { a["w1"].peers.AddressBook = []api.AddressEntry{entry(validatorID)} }, hiding.CodeBook, "w1", Critical},
		{"it is in a sentry's book", func(a agents) { a["s1"].peers.AddressBook = []api.AddressEntry{entry(validatorID)} }, hiding.CodeBook, "s1", Critical},
		{"it is in a book, at no address", func(a agents) {
			a["w1"].peers.AddressBook = []api.AddressEntry{{NodeID: validatorID, Addr: ":0"}}
		}, hiding.CodeBook, "w1", Critical},
		{"it told of an address in a book", func(a agents) {
			a["s1"].peers.AddressBook = []api.AddressEntry{{NodeID: worldID, Addr: "127.0.0.1:9", SourceID: validatorID, Source: "127.0.0.1:8"}}
		}, hiding.CodeBook, "s1", Critical},
		{"others are in a book", func(a agents) { a["w1"].peers.AddressBook = []api.AddressEntry{entry(sentryID)} }, hiding.CodeBook, "w1", OK},
		{"the world sees it", func(a agents) {
			a["w1"].peers.Peers = append(a["w1"].peers.Peers, api.Peer{NodeID: validatorID})
		}, hiding.CodeNetInfo, "w1", Critical},
		{"the world sees it", func(a agents) {
			a["w1"].peers.Peers = append(a["w1"].peers.Peers, api.Peer{NodeID: validatorID})
		}, CodeHidden, "validator", Critical},
		{"its sentry is away", func(a agents) { a["validator"].peers.Peers = nil }, hiding.CodePeers, "validator", Warning},
		{"its sentry is away", func(a agents) { a["validator"].peers.Peers = nil }, CodeHidden, "validator", Warning},
	} {
		t.Run(tt.name+"/"+tt.code, func(t *testing.T) {
			all, hosts := fakeNetwork(t)
			tt.spoil(all)
			proven, err := Proof{Hosts: hosts, Provider: all, Quick: true}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if proven.Progress.Looks < 2 || proven.Progress.Knocks != 1 || proven.Progress.Asks != 0 {
				t.Errorf("gathered %+v", proven.Progress)
			}
			find(t, JudgeProof(proven), tt.code, tt.subject, tt.want, "")
		})
	}
}

// Whether strangers would get to a server is not known before one has met a sentry.
func TestQuickProofOfServer(t *testing.T) {
	all, hosts := fakeNetwork(t)
	hosts[0].Provider = deployment.ProviderSSH
	proven, err := Proof{Hosts: hosts, Provider: all, Quick: true}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checks := JudgeProof(proven)
	find(t, checks, hiding.CodeReach, "validator", NotChecked, "--quick")
	find(t, checks, CodeHidden, "validator", NotChecked, "--quick")
	proven.Quick = false
	find(t, JudgeProof(proven), hiding.CodeReach, "validator", Warning, "no sentry was met")
}

func TestAgentAway(t *testing.T) {
	all, hosts := fakeNetwork(t)
	if err := os.Remove(filepath.Join(all["w1"].folder, api.SocketName)); err != nil {
		t.Fatal(err)
	}
	proven, err := Proof{Hosts: hosts, Provider: all, Quick: true}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checks := JudgeProof(proven)
	find(t, checks, hiding.CodeBook, "w1", Warning, "reach agent")
	find(t, checks, CodeHidden, "validator", Warning, "not proven")
}

func TestNothingToProve(t *testing.T) {
	all, hosts := fakeNetwork(t)
	silent := slices.Clone(hosts)
	silent[0].Status.Node.Answers = false
	alone := slices.Clone(hosts)
	alone[0].Agent = false
	for says, hosts := range map[string][]Host{"no validator": hosts[1:], "does not answer": silent, "agent does not run": alone} {
		proven, err := Proof{Hosts: hosts, Provider: all}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		find(t, JudgeProof(proven), CodeHidden, Deployment, NotChecked, says)
	}
}

func TestInterruptedProof(t *testing.T) {
	all, hosts := fakeNetwork(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Proof{Hosts: hosts, Provider: all}).Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// Who tells its peers once and then no more was not watched: neither is that said, nor are such looks counted.
func TestAgentDies(t *testing.T) {
	_, hosts := fakeNetwork(t)
	for dies, unproven := range map[string][]string{
		"":          nil,
		"validator": {hiding.CodePeers},
		"w1":        {hiding.CodeNetInfo, hiding.CodeBook},
		"s1":        {hiding.CodeBook},
	} {
		g := &gathering{
			Proof: Proof{Hosts: hosts}, validator: hosts[0], peers: map[string]map[string]comet.Peer{}, books: map[string]map[hiding.Entry]bool{},
			missing: map[string]string{}, looked: map[string]span{}, answers: map[string]*p2p.Answer{}, first: map[string]time.Time{},
		}
		for i := range 24 {
			for _, h := range hosts {
				var err error
				if i > 0 && h.Name == dies {
					err = errors.New("its agent does not answer")
				}
				peers := []api.Peer{{NodeID: sentryID}}
				g.note(h.Name, api.PeersReply{Peers: peers}, err, begin.Add(time.Duration(i)*peersEvery))
			}
		}
		want := 24
		if dies != "" {
			want = 1
		}
		if got := g.progress(begin).Looks; got != want {
			t.Errorf("%q dies: %d looks at all hosts, want %d", dies, got, want)
		}
		var codes []string
		for _, c := range hiding.Judge(g.evidence()) {
			watched := c.Code == hiding.CodePeers || c.Code == hiding.CodeNetInfo || c.Code == hiding.CodeBook
			if watched && c.Verdict != hiding.Hidden {
				codes = append(codes, c.Code)
			}
			if watched && c.Verdict != hiding.Hidden && (c.Subject != dies || !strings.Contains(c.Message, "does not answer")) {
				t.Errorf("%q dies: %s", dies, c.Message)
			}
		}
		if !slices.Equal(codes, unproven) {
			t.Errorf("%q dies: %q are unproven, want %q", dies, codes, unproven)
		}
	}
}

// The time over which a node was asked is never said to be longer than it was.
func TestHeard(t *testing.T) {
	g := &gathering{answers: map[string]*p2p.Answer{}, first: map[string]time.Time{}}
	at := func(s float64) time.Time { return begin.Add(time.Duration(s * float64(time.Second))) }
	answer := func(asks int, told ...string) p2p.Report {
		a := p2p.Answer{Asked: "n", Asks: asks, Outcome: p2p.Welcome, Largest: len(told)}
		for _, s := range told {
			a.Addresses = append(a.Addresses, p2p.Address{Host: s})
		}
		if asks == 0 {
			a.Outcome = p2p.Refused
		}
		return p2p.Report{Answers: []p2p.Answer{a}}
	}
	g.heard(answer(0), at(0), at(5))
	g.heard(answer(1, "x"), at(15), at(16))
	g.heard(answer(1, "x", "y"), at(31), at(32))
	if g.enough([]string{"n"}) {
		t.Error("two answers are enough, it is said")
	}
	g.heard(answer(1, "y"), at(46), at(47))
	if a := g.answers["n"]; a.Period != 30*time.Second || a.Asks != 3 || a.Largest != 2 || g.enough([]string{"n"}) {
		t.Errorf("after half a minute: %+v, enough %v", a, g.enough([]string{"n"}))
	}
	g.heard(answer(1), at(61.5), at(62))
	if a := g.answers["n"]; a.Period != 45500*time.Millisecond || !g.enough([]string{"n"}) || g.enough([]string{"n", "other"}) {
		t.Errorf("after three quarters of a minute: %+v", a)
	}
	if got := g.progress(at(62)).Asks; got != 4 {
		t.Errorf("%d answers in all, want 4", got)
	}
}

func TestSchedule(t *testing.T) {
	last := time.Duration(rounds-1) * roundEvery
	if rounds < hiding.MinAsks || last < hiding.MinPeriod+time.Second {
		t.Errorf("%d rounds in %s are too few", rounds, last)
	}
	if roundEvery < p2p.MinSpacing {
		t.Errorf("a round every %s: nodes ban whom they meet more often than every %s", roundEvery, p2p.MinSpacing)
	}
	if end := time.Duration(knocks-1)*knockEvery + knockHold; end > last {
		t.Errorf("the last stranger is still there after %s, the last round is at %s", end, last)
	}
	if knockHold < 2*peersEvery {
		t.Error("a stranger may come and go between two looks at the validator's peers")
	}
}

// A sentry that enrolled itself is a sentry, of which nobody here can see the lists: that is said, and no stranger is
// taken for it.
func TestInvitedSentry(t *testing.T) {
	all, hosts := fakeNetwork(t)
	guest := Invited{Name: "s2", NodeID: strings.Repeat("d", 40), Endpoint: "127.0.0.1:9"}
	all["validator"].peers.Peers = append(all["validator"].peers.Peers, api.Peer{NodeID: guest.NodeID})
	proven, err := Proof{Hosts: hosts, Invited: []Invited{guest}, Provider: all, Quick: true}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checks := JudgeProof(proven)
	find(t, checks, hiding.CodePeers, "validator", OK, "")
	find(t, checks, hiding.CodeBook, "s2", Warning, "enrolled itself")
	if proven, err = (Proof{Hosts: hosts, Provider: all, Quick: true}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	find(t, JudgeProof(proven), hiding.CodePeers, "validator", Critical, "")
}
