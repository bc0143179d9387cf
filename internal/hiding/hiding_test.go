package hiding

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/p2p"
)

func id(c string) string { return strings.Repeat(c, 40) }

var (
	val = p2p.Address{ID: id("a"), Host: "10.9.0.1", Port: 26656}
	pub = p2p.Address{ID: id("e"), Host: "203.0.113.9", Port: 26656}
)

// good is the evidence of a validator that is hidden: each test spoils one thing.
func good() Evidence {
	answer := func(asked, id string) p2p.Answer {
		return p2p.Answer{
			Asked: asked, Info: p2p.NodeInfo{ID: id}, Met: "203.0.113.1", Asks: 3, Period: 46 * time.Second, Largest: 1,
			Addresses: []p2p.Address{pub}, Outcome: p2p.Welcome,
		}
	}
	long := Look{Count: 24, Period: 46 * time.Second}
	peer := func(id, ip string) comet.Peer {
		return comet.Peer{ID: id, RemoteIP: ip, ListenAddr: "tcp://0.0.0.0:26656"}
	}
	return Evidence{
		Validator: Node{"val", id("a"), []string{"198.51.100.6:26656", "198.51.100.7:26656"}},
		Sentries:  []Node{{"s1", id("b"), []string{"203.0.113.1:26656"}}, {"s2", id("c"), []string{"203.0.113.2:26656"}}},
		Others:    []Node{{"open", id("d"), []string{"203.0.113.3:26656"}}},
		NetInfo: map[string][]comet.Peer{
			"val":  {peer(id("b"), "10.9.0.2"), peer(id("c"), "10.9.0.3")},
			"open": {peer(id("b"), "203.0.113.1")},
		},
		Books: map[string][]Entry{"s1": {{Address: pub, Source: pub}}, "s2": {}, "open": {{Address: pub, Source: pub}}},
		Looks: map[string]Look{"val": long, "s1": long, "s2": long, "open": long},
		Crawl: p2p.Report{Answers: []p2p.Answer{
			answer("203.0.113.1:26656", id("b")), answer(id("c")+"@203.0.113.2:26656", id("c")), answer("203.0.113.3:26656", id("d")),
		}},
		Knocks: []p2p.Probe{
			{Addr: "198.51.100.6:26656", Outcome: p2p.Closed, ID: id("a"), Self: id("f"), Held: 3 * time.Millisecond},
			{Addr: "198.51.100.7:26656", Outcome: p2p.Unreachable},
		},
		Mesh:    []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		Missing: map[string]string{},
	}
}

func TestHiddenValidator(t *testing.T) {
	cs := Judge(good())
	for _, c := range cs {
		if c.Verdict != Hidden || c.Severity != health.Info {
			t.Errorf("%s of %q: %s (%s): %s", c.Code, c.Subject, c.Verdict, c.Severity, c.Message)
		}
	}
	if Overall(cs) != Hidden || len(Findings(cs)) != 0 {
		t.Errorf("overall %s, findings %v", Overall(cs), Findings(cs))
	}
	want := []string{
		CodePeers, CodeKnock, CodeKnock, CodeBook, CodeAnswers, CodeBook, CodeAnswers, CodeNetInfo, CodeBook, CodeAnswers,
		CodeMesh, CodeScope,
	}
	var got []string
	for _, c := range cs {
		got = append(got, c.Code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

// spoiled is a negative control: one thing is not as it should be, and exactly one check must say so.
type spoiled struct {
	name    string
	spoil   func(*Evidence)
	code    string
	subject string
	verdict Verdict
	says    string
}

func (s spoiled) run(t *testing.T) {
	e := good()
	s.spoil(&e)
	cs := Judge(e)
	bad := slices.DeleteFunc(slices.Clone(cs), func(c Check) bool { return c.Verdict == Hidden })
	if len(bad) != 1 {
		t.Fatalf("%d checks object, want one: %+v", len(bad), bad)
	}
	c := bad[0]
	if c.Code != s.code || c.Subject != s.subject || c.Verdict != s.verdict || !strings.Contains(c.Message, s.says) {
		t.Errorf("got %s of %q: %s: %s", c.Code, c.Subject, c.Verdict, c.Message)
	}
	severity := health.Warning
	if s.verdict == Seen {
		severity = health.Critical
	}
	if c.Severity != severity || c.Next == "" || Overall(cs) != s.verdict || len(Findings(cs)) != 1 {
		t.Errorf("severity %s, next %q, overall %s, %d findings", c.Severity, c.Next, Overall(cs), len(Findings(cs)))
	}
}

func TestSeen(t *testing.T) {
	other := comet.Peer{ID: id("9"), RemoteIP: "192.0.2.1", Moniker: "m"}
	for _, s := range []spoiled{
		{"extra peer", func(e *Evidence) { e.NetInfo["val"] = append(e.NetInfo["val"], other) }, CodePeers, "val", Seen, id("9")},
		{"stranger is a peer", func(e *Evidence) {
			e.NetInfo["val"] = append(e.NetInfo["val"], comet.Peer{ID: id("f")})
		}, CodePeers, "val", Seen, "the stranger that knocked"},
		{"stranger is kept", func(e *Evidence) {
			e.Knocks[0].Outcome, e.Knocks[0].Held = p2p.Welcome, MinHold
		}, CodeKnock, "val", Seen, "kept a stranger"},
		{"stranger is kept for a while", func(e *Evidence) { e.Knocks[0].Held = time.Minute }, CodeKnock, "val", Seen, "kept a stranger"},
		{"second knock", func(e *Evidence) {
			e.Knocks = append(e.Knocks, p2p.Probe{Addr: "198.51.100.7:26656", Outcome: p2p.Welcome, Held: MinHold})
		}, CodeKnock, "val", Seen, "198.51.100.7"},
		{"peer of another, by id", func(e *Evidence) {
			e.NetInfo["open"] = []comet.Peer{{ID: strings.ToUpper(id("a")), RemoteIP: "192.0.2.1"}}
		}, CodeNetInfo, "open", Seen, "its id"},
		{"peer of another, by address", func(e *Evidence) {
			e.NetInfo["open"] = []comet.Peer{{ID: id("9"), RemoteIP: "198.51.100.7", ListenAddr: "tcp://0.0.0.0:1"}}
		}, CodeNetInfo, "open", Seen, "its address"},
		{"peer of another, by what it says", func(e *Evidence) {
			e.NetInfo["open"] = []comet.Peer{{ID: id("9"), RemoteIP: "192.0.2.1", ListenAddr: "198.51.100.6:26656"}}
		}, CodeNetInfo, "open", Seen, "its address"},
		{"book of a sentry", func(e *Evidence) { e.Books["s2"] = []Entry{{Address: val}} }, CodeBook, "s2", Seen, "its id"},
		{"book of a sentry, source", func(e *Evidence) {
			e.Books["s1"] = []Entry{{Address: pub, Source: val}}
		}, CodeBook, "s1", Seen, "as a source"},
		{"book of another, by address", func(e *Evidence) {
			e.Books["open"] = []Entry{{Address: p2p.Address{ID: id("9"), Host: "198.51.100.7", Port: 26656}}}
		}, CodeBook, "open", Seen, "its address"},
		{"told by a sentry, by id", func(e *Evidence) {
			e.Crawl.Answers[0].Addresses = []p2p.Address{{ID: id("a"), Host: "192.0.2.1", Port: 1}}
		}, CodeAnswers, "s1", Seen, "its id"},
		{"told by a sentry, by host", func(e *Evidence) {
			e.Crawl.Answers[1].Addresses = []p2p.Address{{ID: id("9"), Host: "198.51.100.7", Port: 1}}
		}, CodeAnswers, "s2", Seen, "its address"},
		{"told in the worse of two answers", func(e *Evidence) {
			e.Crawl.Answers = append(e.Crawl.Answers, p2p.Answer{
				Asked: id("b") + "@203.0.113.1:26656", Asks: 1, Addresses: []p2p.Address{{ID: id("a"), Host: "192.0.2.1", Port: 1}},
			})
		}, CodeAnswers, "s1", Seen, "its id"},
		{"told by somebody", func(e *Evidence) {
			e.Crawl.Answers = append(e.Crawl.Answers, p2p.Answer{
				Asked: "192.0.2.5:26656", Asks: 1, Addresses: []p2p.Address{{ID: id("a"), Host: "192.0.2.1", Port: 1}},
			})
		}, CodeAnswers, "192.0.2.5:26656", Seen, "its id"},
	} {
		t.Run(s.name, s.run)
	}
}

func TestUnproven(t *testing.T) {
	for _, s := range []spoiled{
		{"validator not asked", func(e *Evidence) { delete(e.NetInfo, "val") }, CodePeers, "val", Unproven, "not asked"},
		{"sentry not connected", func(e *Evidence) {
			e.NetInfo["val"] = e.NetInfo["val"][:1]
		}, CodePeers, "val", Unproven, "not connected to s2"},
		{"no peers", func(e *Evidence) { e.NetInfo["val"] = nil }, CodePeers, "val", Unproven, "not connected to s1, s2"},
		{"other not asked", func(e *Evidence) {
			delete(e.NetInfo, "open")
			e.Missing["open"] = "its host is off"
		}, CodeNetInfo, "open", Unproven, "its host is off"},
		{"book not read", func(e *Evidence) { delete(e.Books, "s1") }, CodeBook, "s1", Unproven, "not asked"},
		{"validator's peers looked at once", func(e *Evidence) { e.Looks["val"] = Look{Count: 1} }, CodePeers, "val", Unproven, "too short"},
		{"a sentry's agent dies", func(e *Evidence) {
			e.Looks["s1"], e.Missing["s1"] = Look{Count: 20, Period: 40 * time.Second}, "its agent does not answer"
		}, CodeBook, "s1", Unproven, "too short to prove anything: its agent does not answer"},
		{"a sentry's agent is away in between", func(e *Evidence) {
			e.Looks["s2"] = Look{Count: 2, Period: 46 * time.Second}
		}, CodeBook, "s2", Unproven, "too short"},
		{"sentry not asked", func(e *Evidence) {
			e.Crawl.Answers = e.Crawl.Answers[1:]
		}, CodeAnswers, "s1", Unproven, "not asked"},
		{"sentry unreachable", func(e *Evidence) {
			e.Crawl.Answers[0] = p2p.Answer{Asked: "203.0.113.1:26656", Outcome: p2p.Unreachable}
		}, CodeAnswers, "s1", Unproven, "unreachable"},
		{"too few asks", func(e *Evidence) { e.Crawl.Answers[0].Asks = 2 }, CodeAnswers, "s1", Unproven, "too short"},
		{"too short a time", func(e *Evidence) { e.Crawl.Answers[1].Period = 44 * time.Second }, CodeAnswers, "s2", Unproven, "too short"},
		{"no knock", func(e *Evidence) { e.Knocks = e.Knocks[:1] }, CodeKnock, "val", Unproven, "198.51.100.7"},
		{"knock too short", func(e *Evidence) { e.Knocks[0].Outcome = p2p.Welcome }, CodeKnock, "val", Unproven, "left before"},
		{"knock of the wrong network", func(e *Evidence) {
			e.Knocks[0] = p2p.Probe{Addr: "198.51.100.6:26656", Outcome: p2p.Incompatible}
		}, CodeKnock, "val", Unproven, "says nothing"},
		{"another node at the address", func(e *Evidence) { e.Knocks[0].ID = id("9") }, CodeKnock, "val", Unproven, "another node"},
		{"no way to the validator", func(e *Evidence) {
			e.Knocks[1].Outcome, e.Knocks[1].Detail = p2p.NoRoute, "network is unreachable"
		}, CodeKnock, "val", Unproven, "network is unreachable"},
		{"something else answers", func(e *Evidence) { e.Knocks[1].Outcome = p2p.NoHandshake }, CodeKnock, "val", Unproven, "does not speak as a node"},
		{"sentries met over the other family only", func(e *Evidence) {
			for i := range e.Crawl.Answers {
				e.Crawl.Answers[i].Met = "2001:db8::1"
			}
		}, CodeReach, "val", Unproven, "no sentry was reached over IPv4"},
		{"only others met", func(e *Evidence) {
			e.Crawl.Answers[0].Met, e.Crawl.Answers[1].Met = "", ""
		}, CodeReach, "val", Unproven, "no sentry was reached over IPv4"},
		{"behind a bastion", func(e *Evidence) {
			e.Validator.Addresses, e.Knocks = []string{"10.0.0.5:26656"}, []p2p.Probe{{Addr: "10.0.0.5:26656", Outcome: p2p.NoRoute}}
		}, CodeReach, "val", Unproven, "where the world would meet it is not known"},
		{"met through a VPN", func(e *Evidence) {
			e.Validator.Addresses = []string{"100.64.0.5:26656"}
			e.Knocks = []p2p.Probe{{Addr: "100.64.0.5:26656", Outcome: p2p.Closed, ID: id("a")}, {Addr: "100.64.0.5:26656", Outcome: p2p.Closed, ID: id("a")}}
		}, CodeReach, "val", Unproven, "100.64.0.0/10"},
		{"through a tunnel of SSH", func(e *Evidence) {
			e.Validator.Addresses, e.Knocks = []string{"127.0.0.1:26656"}, []p2p.Probe{{Addr: "127.0.0.1:26656", Outcome: p2p.Refused}}
		}, CodeReach, "val", Unproven, "127.0.0.0/8"},
		{"of a private network of IPv6", func(e *Evidence) {
			e.Validator.Addresses, e.Knocks = []string{"[fd00::5]:26656"}, []p2p.Probe{{Addr: "[fd00::5]:26656", Outcome: p2p.Unreachable}}
		}, CodeReach, "val", Unproven, "fc00::/7"},
		{"mesh told", func(e *Evidence) {
			e.Crawl.Answers[0].Addresses = []p2p.Address{{ID: id("9"), Host: "10.9.0.2", Port: 1}}
		}, CodeMesh, "203.0.113.1:26656", Unproven, "10.9.0.2"},
		{"bad address", func(e *Evidence) {
			e.Validator.Addresses = append(e.Validator.Addresses, "nonsense")
		}, CodeEvidence, "val", Unproven, "nonsense"},
		{"no id", func(e *Evidence) { e.Validator.ID = "" }, CodeEvidence, "val", Unproven, "node id"},
		{"an id twice", func(e *Evidence) {
			e.Others = append(e.Others, Node{Name: "open", ID: id("a")})
			e.Crawl.Answers = append(e.Crawl.Answers, e.Crawl.Answers[2])
			e.Crawl.Answers[3].Info.ID = id("a")
		}, CodeEvidence, "open", Unproven, "the node id of the validator"},
	} {
		t.Run(s.name, s.run)
	}
	if Overall(Judge(Evidence{})) != Unproven || Overall(nil) != Unproven {
		t.Error("no evidence must not prove anything")
	}
}

// A node with many addresses tells a sample. Its book settles what it did not tell.
func TestSample(t *testing.T) {
	e := good()
	e.Crawl.Answers[0].Largest = 32
	if v := Overall(Judge(e)); v != Hidden {
		t.Errorf("with the book: %s", v)
	}
	delete(e.Books, "s1")
	i := slices.IndexFunc(Judge(e), func(c Check) bool { return c.Code == CodeAnswers && c.Subject == "s1" })
	if c := Judge(e)[i]; c.Verdict != Unproven || !strings.Contains(c.Message, "more addresses than it tells") {
		t.Errorf("without the book: %+v", c)
	}
}

func TestNodeThatTellsNothing(t *testing.T) {
	e := good()
	e.Crawl.Answers[0] = p2p.Answer{Asked: "203.0.113.1:26656", Info: p2p.NodeInfo{ID: id("b")}, Outcome: p2p.NoPEX}
	if v := Overall(Judge(e)); v != Hidden {
		t.Errorf("got %s, want hidden", v)
	}
}

// Who is no sentry is judged by its peers and by its book: both are unproven after one look, unless that is all that was meant.
func TestShortLooks(t *testing.T) {
	e := good()
	e.Looks["open"] = Look{Count: 1}
	var codes []string
	for _, c := range Judge(e) {
		if c.Verdict == Unproven && c.Subject == "open" {
			codes = append(codes, c.Code)
		}
	}
	if !slices.Equal(codes, []string{CodeNetInfo, CodeBook}) {
		t.Errorf("unproven: %q", codes)
	}
	if e.Brief = true; Overall(Judge(e)) != Hidden {
		t.Errorf("meant to be short: %+v", Judge(e))
	}
	e.NetInfo["open"] = []comet.Peer{{ID: id("a")}}
	if e.Brief = false; Overall(Judge(e)) != Seen {
		t.Error("what was seen in a short look was seen all the same")
	}
}

// In a laboratory everybody is in a private network, and that is its world.
func TestLaboratory(t *testing.T) {
	e := good()
	e.Validator.Addresses, e.Knocks = []string{"10.7.0.5:26656"}, []p2p.Probe{{Addr: "10.7.0.5:26656", Outcome: p2p.Unreachable}}
	e.Crawl.Answers[2].Met = "10.7.0.4" // is no sentry
	if v := Overall(Judge(e)); v != Unproven {
		t.Errorf("sentries met in the world: %s", v)
	}
	e.Crawl.Answers[0].Met = "10.7.0.2"
	if v := Overall(Judge(e)); v != Hidden {
		t.Errorf("a sentry met in the laboratory: %s", v)
	}
	e.Validator.Addresses = append(e.Validator.Addresses, "192.168.7.5:26656")
	if v := Overall(Judge(e)); v != Unproven {
		t.Errorf("a further address elsewhere: %s", v)
	}
	e.Knocks = append(e.Knocks, p2p.Probe{Addr: "192.168.7.5:26656", Outcome: p2p.Welcome, Held: MinHold})
	if v := Overall(Judge(e)); v != Seen {
		t.Errorf("a stranger is kept, wherever: %s", v)
	}
}

// On one machine all hosts are the same: there only ports tell nodes apart.
func TestLoopback(t *testing.T) {
	e := good()
	e.Here, e.Validator.Addresses = true, []string{"127.0.0.1:7001"}
	e.Knocks = []p2p.Probe{{Addr: "127.0.0.1:7001", Outcome: p2p.Refused}}
	e.Books["s1"] = []Entry{{Address: p2p.Address{ID: id("9"), Host: "127.0.0.1", Port: 7002}}}
	if v := Overall(Judge(e)); v != Hidden {
		t.Errorf("another port: %s", v)
	}
	e.Books["s1"][0].Address.Port = 7001
	if v := Overall(Judge(e)); v != Seen {
		t.Errorf("the validator's port: %s", v)
	}
}

func TestGaps(t *testing.T) {
	cs := Judge(Evidence{Validator: Node{Name: "val"}, Others: []Node{{Name: "o"}, {Name: "same"}}})
	if len(cs) != 5 {
		t.Errorf("%d gaps: %+v", len(cs), cs)
	}
}

func TestCheckIsOneObject(t *testing.T) {
	b, err := json.Marshal(Check{Finding: health.Finding{Code: "c", Severity: health.Info, Message: "m"}, Verdict: Hidden})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"code":"c","severity":"info","message":"m","verdict":"hidden"}`; string(b) != want {
		t.Errorf("got %s, want %s", b, want)
	}
}
