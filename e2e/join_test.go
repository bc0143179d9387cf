package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/status"
)

// guest is a host that enrols itself, in a folder that the deployment knows nothing of.
type guest struct {
	folder         string
	p2p, rpc, mesh string
}

func newGuest(t *testing.T, n *network, name string) *guest {
	t.Helper()
	g := &guest{folder: filepath.Join(n.base, "elsewhere", name)}
	for _, to := range []*string{&g.p2p, &g.rpc, &g.mesh} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at once, so that they differ
		*to = l.Addr().String()
	}
	return g
}

// meeting is a command that has told a code, and waits.
type meeting struct {
	*exec.Cmd
	code, relay string
	ended       chan error
	all         chan string // what it said, once it has ended
}

var toldRelay = regexp.MustCompile(`--relay (\S+)`)

// meets starts a command that tells a code and serves a relay, and reads what the other side must know.
func (n *network) meets(t *testing.T, args ...string) *meeting {
	t.Helper()
	m := &meeting{Cmd: n.command(args...), ended: make(chan error, 1), all: make(chan string, 1)}
	r, w := io.Pipe()
	m.Stdout, m.Stderr, m.WaitDelay = w, w, time.Second
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Process.Kill() })
	lines := bufio.NewScanner(r)
	told := make(chan struct{})
	go func() {
		var all []string
		for lines.Scan() {
			all = append(all, lines.Text())
			if code, ok := strings.CutPrefix(lines.Text(), "code: "); ok {
				m.code = code
			}
			if at := toldRelay.FindStringSubmatch(lines.Text()); at != nil && m.relay == "" {
				m.relay = at[1]
				close(told)
			}
		}
		m.all <- strings.Join(all, "\n")
	}()
	go func() {
		m.ended <- m.Wait()
		_ = w.Close()
	}()
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatalf("pressenter %s told no code", strings.Join(args, " "))
	case err := <-m.ended:
		t.Fatalf("pressenter %s: %v\n%s", strings.Join(args, " "), err, <-m.all)
	}
	return m
}

// done waits for the command's good end and returns what it said.
func (m *meeting) done(t *testing.T) string {
	t.Helper()
	err, said := <-m.ended, <-m.all
	if err != nil {
		t.Fatalf("%v: %v\n%s", m.Args, err, said)
	}
	return said
}

// joins runs the host's side to its end.
func (g *guest) joins(t *testing.T, n *network, m *meeting) said {
	t.Helper()
	s := g.tries(t, n, m, n.genesis())
	if s.code != 0 {
		t.Fatal(s)
	}
	return s
}

// tries runs the host's side, with any file for the genesis.
func (g *guest) tries(t *testing.T, n *network, m *meeting, genesis string) said {
	t.Helper()
	c := n.command("join", "--host", g.folder, "--relay", m.relay, "--daemon", practiced(), "--genesis", genesis,
		"--p2p", g.p2p, "--rpc", g.rpc, "--mesh", g.mesh)
	c.Dir = n.base
	c.Stdin = strings.NewReader(m.code + "\n")
	return ended(t, c)
}

func (n *network) genesis() string { return filepath.Join(n.state().Genesis(), "genesis.json") }

// meshOf asks the mesh process of a host itself.
func meshOf(t *testing.T, folder string) (api.MeshStatus, error) {
	c := api.DialMesh(folder, folder)
	defer c.Close()
	return c.Mesh(t.Context())
}

// pathTo is how a host reaches a member; "" where it knows none of that name.
func pathTo(t *testing.T, folder, name string) string {
	st, err := meshOf(t, folder)
	if err != nil {
		return err.Error()
	}
	for _, p := range st.Peers {
		if p.Name == name {
			return p.Path
		}
	}
	return ""
}

var phaseTook = regexp.MustCompile(`\b([a-z]+)=([0-9.]+)s`)

// took are the phases that a command told.
func took(text string) map[string]string {
	out := map[string]string{}
	for _, m := range phaseTook.FindAllStringSubmatch(text, -1) {
		out[m[1]] = m[2]
	}
	return out
}

// A sentry on a host that nobody reaches enrols itself with a code, comes up by itself, is brought into the others'
// settings by apply, and is cut off once the config drops it.
func TestJoin(t *testing.T) {
	n := upAndSigning(t)
	g := newGuest(t, n, "host")
	n.guard(t)
	n.edit(t, func(d *config.Deployment) {
		d.Sentries = append(d.Sentries, config.Sentry{Name: "s3", Machine: config.Machine{Provider: config.ProviderInvite}})
	})
	if s := n.does(t, "plan"); !s.has("no changes", "s3 waits to be invited: run 'pressenter invite s3'") {
		t.Errorf("the plan does not say that somebody is to come:\n%v", s)
	}
	n.refuses(t, []string{"a person has to compare"}, "invite", "s3", "--listen", "127.0.0.1:0")
	n.refuses(t, []string{`no sentry "s4"`}, "invite", "s4", "--listen", "127.0.0.1:0", "--yes")
	invite := n.meets(t, "invite", "s3", "--listen", "127.0.0.1:0", "--yes")
	typed := time.Now()
	up := make(chan time.Duration, 1)
	go func() {
		err := await(func() error {
			if p := pathTo(t, n.folder("s1"), "s3"); p != api.PathDirect {
				return errors.New(p)
			}
			return nil
		})
		if err != nil {
			close(up)
			return
		}
		up <- time.Since(typed)
	}()
	joined := g.joins(t, n, invite)
	invited := took(invite.done(t))
	host, first := took(joined.out), <-up
	if first == 0 {
		t.Fatal("there is no tunnel to s3")
	}
	fmt.Printf("figure join_s %.2f s offer=%s request=%s admit=%s store=%s first_ping=%.2f\n",
		first.Seconds(), host["offer"], host["request"], invited["admit"], host["store"], first.Seconds())
	r := n.roster(t)
	m, member := r.Member("s3")
	if !member || m.Role != roster.RoleSentry || m.Endpoint != g.p2p || m.Mesh.Endpoint != g.mesh {
		t.Fatalf("s3 is %+v", m)
	}
	if joined.has(invite.code) {
		t.Errorf("the host repeats the code:\n%v", joined)
	}
	n.meshHasGuest(t)
	g.syncs(t)
	g.survives(t, n)
	n.bringIn(t, m.NodeID)
	t.Run("peers", func(t *testing.T) { n.tellPeers(t, m) })
	other := newGuest(t, n, "other")
	other.takesPlace(t, n, g)
	other.revoked(t, n)
	other.leaves(t, n)
	n.honest(t)
}

// takesPlace joins as s3 from a folder of its own, with other keys: the host was lost. The first try has a genesis that
// is not the chain's; the second needs no code.
func (g *guest) takesPlace(t *testing.T, n *network, old *guest) {
	t.Helper()
	was, _ := n.roster(t).Member("s3")
	m := n.meets(t, "invite", "s3", "--listen", "127.0.0.1:0", "--yes")
	if s := g.tries(t, n, m, n.genesis()); s.code == 0 || !s.has("was not admitted") {
		t.Errorf("without --replace: %v", s)
	}
	if err := <-m.ended; err == nil || !strings.Contains(<-m.all, "needs a person's yes, or --replace") {
		t.Errorf("without --replace: %v", err)
	}
	m = n.meets(t, "invite", "s3", "--listen", "127.0.0.1:0", "--yes", "--replace", "--json")
	if s := g.tries(t, n, m, n.yaml()); s.code == 0 || !s.has("is not the deployment's", "without a code") {
		t.Errorf("with another genesis: %v", s)
	}
	if said := m.done(t); !strings.Contains(said, `"replaced": true`) {
		t.Errorf("invited: %s", said)
	}
	if s := ended(t, n.command("join", "--host", g.folder, "--genesis", n.genesis())); s.code != 0 || !s.has("this host is s3") {
		t.Errorf("with the right genesis: %v", s)
	}
	g.syncs(t)
	if r := n.roster(t); !r.Tombstoned(was.Identity) {
		t.Errorf("the lost one could come back: %+v", r.Tombstones)
	}
	n.meshHasGuest(t)
	eventually(t, "the lost host to be cut off", func() error { return old.isCutOff(t) })
}

// roster is the newest that the operator knows.
func (n *network) roster(t *testing.T) *roster.Roster {
	t.Helper()
	store, err := n.state().Rosters()
	if err != nil {
		t.Fatal(err)
	}
	return store.State().Head
}

// meshHasGuest checks what s1 and the operator say of the guest, whose agent the operator cannot ask.
func (n *network) meshHasGuest(t *testing.T) {
	t.Helper()
	eventually(t, "all tunnels to s3", func() error {
		s := n.runs(t, "mesh", "status", "--json")
		var mesh status.Mesh
		if err := json.Unmarshal([]byte(s.out), &mesh); err != nil {
			return fmt.Errorf("%w: %v", err, s)
		}
		var from []string
		for _, l := range mesh.Links {
			if l.Name == "s3" && l.Path == api.PathDirect {
				from = append(from, l.From)
			}
		}
		slices.Sort(from)
		if !slices.Equal(from, []string{"s1", "s2", "validator"}) || s.code != 0 {
			return fmt.Errorf("direct from %v; %v", from, s)
		}
		return nil
	})
}

// syncs waits until the guest's node has the chain.
func (g *guest) syncs(t *testing.T) {
	t.Helper()
	node := comet.Client{URL: "http://" + g.rpc}
	eventually(t, "the node of s3 to have the chain", func() error {
		st, err := node.Status(t.Context())
		if err == nil && (st.CatchingUp || st.Height == 0) {
			err = fmt.Errorf("height %d", st.Height)
		}
		return err
	})
}

// survives checks that the same command brings the host back, without a code.
func (g *guest) survives(t *testing.T, n *network) {
	t.Helper()
	again := n.command("join", "--host", g.folder)
	if s := ended(t, again); s.code != 0 || !s.has("has joined") {
		t.Errorf("while its agent runs: %v", s)
	}
	for _, r := range under(g.folder) {
		if r.kind() == agents {
			if err := killed(r.Identity); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s := ended(t, n.command("join", "--host", g.folder)); s.code != 0 || !s.has("this host is s3") {
		t.Errorf("after its agent was killed: %v", s)
	}
	g.syncs(t)
	if s := ended(t, n.command("leave", "--host", g.folder)); s.code != 0 || !s.has("s3 of net has left", "take s3 out of pressenter.yaml") {
		t.Errorf("leaving: %v", s)
	}
	if left := under(g.folder); len(left) > 0 {
		t.Errorf("after it has left these go on: %v", left)
	}
	if s := ended(t, n.command("join", "--host", g.folder)); s.code != 0 || !s.has("this host is s3") {
		t.Errorf("after it has left: %v", s)
	}
	g.syncs(t)
}

// leaves tells a host that was removed of that, which nobody in the mesh does, and ends it.
func (g *guest) leaves(t *testing.T, n *network) {
	t.Helper()
	store, err := n.state().Rosters()
	if err != nil {
		t.Fatal(err)
	}
	req := api.PublishRequest{Evidence: true}
	for _, e := range store.Envelopes() {
		req.Envelopes = append(req.Envelopes, roster.EncodeEnvelope(e))
	}
	c := api.Dial("s3", g.folder)
	defer c.Close()
	if _, err := c.Publish(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	eventually(t, "node and mesh of the removed host to end", func() error {
		if left := slices.DeleteFunc(under(g.folder), func(r running) bool { return r.kind() == agents }); len(left) > 0 {
			return fmt.Errorf("these go on: %v", left)
		}
		return nil
	})
	eventually(t, "the host to say that it was removed", func() error {
		if s := ended(t, n.command("join", "--host", g.folder)); s.code == 0 || !s.has("removed this host from the deployment, for ever") {
			return errors.New(s.String())
		}
		return nil
	})
	if s := ended(t, n.command("leave", "--host", g.folder, "--delete-keys", "--yes")); s.code != 0 || !s.has("the operator has removed it already") {
		t.Errorf("leaving: %v", s)
	}
	if left := under(g.folder); len(left) > 0 {
		t.Errorf("after it has left these go on: %v", left)
	}
	if _, err := os.Stat(g.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is there: %v", err)
	}
}

// bringIn lets apply restart the nodes that should know the guest.
func (n *network) bringIn(t *testing.T, id string) {
	t.Helper()
	if s := n.does(t, "plan"); !s.has("restart validator", "0 to create", "0 to destroy") {
		t.Errorf("the plan does not bring s3 in:\n%v", s)
	}
	n.does(t, "apply", "--yes")
	n.signs(t)
	eventually(t, "the validator to be linked to s3", func() error {
		all, err := n.status(t.Context())
		if err == nil && !slices.ContainsFunc(all["validator"].Node.Peers, func(p api.Peer) bool { return p.NodeID == id }) {
			err = fmt.Errorf("its peers are %+v", all["validator"].Node.Peers)
		}
		return err
	})
	n.noChanges(t)
}

// tellPeers sends the sentries' places from one command to the other.
func (n *network) tellPeers(t *testing.T, s3 roster.Member) {
	n.refuses(t, []string{"one network only", "hint: on a practice network"}, "peers", "send", "--paste")
	send := n.meets(t, "peers", "send", "--listen", "127.0.0.1:0", "--allow-private")
	c := n.command("peers", "receive", "--relay", send.relay, "--allow-private")
	c.Stdin = strings.NewReader(send.code + "\n")
	got := ended(t, c)
	if got.code != 0 || !got.has("3 sentries of another operator", "private_peers:", s3.NodeID+"@"+s3.Endpoint) {
		t.Errorf("received: %v", got)
	}
	if said := send.done(t); !strings.Contains(said, "the other side has it") {
		t.Errorf("sent:\n%s", said)
	}
	v, _ := n.roster(t).Member("validator")
	if got.has(v.NodeID) {
		t.Error("it tells of the validator")
	}
}

// revoked drops the guest from the config.
func (g *guest) revoked(t *testing.T, n *network) {
	t.Helper()
	n.edit(t, sentries("s1", "s2"))
	begun := time.Now()
	cut := make(chan time.Duration, 1)
	go func() {
		defer close(cut)
		if err := await(func() error { return g.isCutOff(t) }); err == nil {
			cut <- time.Since(begun)
		}
	}()
	n.does(t, "apply", "--yes")
	after, ok := <-cut
	if !ok {
		t.Fatal("s3 still reaches somebody")
	}
	fmt.Printf("figure join_revoked_s %.2f s\n", after.Seconds())
	for _, name := range []string{"s1", "s2", "validator"} {
		if p := pathTo(t, n.folder(name), "s3"); p != "" {
			t.Errorf("%s to s3: %s", name, p)
		}
	}
	if s := n.does(t, "mesh", "status"); s.has("s3") {
		t.Errorf("it is still told of: %v", s)
	}
	n.isHidden(t, "s1", "s2")
	n.noChanges(t)
}

// isCutOff says whom the guest still reaches.
func (g *guest) isCutOff(t *testing.T) error {
	st, err := meshOf(t, g.folder)
	if err != nil {
		return err
	}
	for _, p := range st.Peers {
		if p.Path != api.PathDown {
			return fmt.Errorf("%s is %s", p.Name, p.Path)
		}
	}
	return nil
}
