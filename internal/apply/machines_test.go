package apply

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
)

// servers are machines by where their address leads, as remote.Provider sees them.
type servers struct {
	*farm
	root   string
	leads  map[string]string
	theirs map[string]bool // addresses of another deployment's servers
	lost   map[string]bool // addresses at which nobody answers
}

func (p servers) at(h deployment.Host) deployment.Host {
	if h.OnMachine() {
		a := h.Address
		if to := p.leads[a]; to != "" {
			a = to
		}
		h.Folder = filepath.Join(p.root, a)
	}
	return h
}

func (p servers) Create(ctx context.Context, h deployment.Host) error {
	if p.theirs[h.Address] {
		return errors.New("it is a host of another deployment already")
	}
	return os.MkdirAll(p.at(h).Folder, 0o700)
}

func (p servers) Stage(_ context.Context, _ deployment.Host, _ deployment.Daemon, from string) (string, error) {
	return from, nil
}

func (p servers) StartAgent(ctx context.Context, h deployment.Host) error {
	at := p.at(h)
	p.mu.Lock()
	a := p.on[at.Folder]
	p.mu.Unlock()
	if a != nil && a.status.Enrolled != nil && a.status.Enrolled.Name != h.Name {
		return fmt.Errorf("this machine is %s %q already: take it out of that one first", a.status.Role, a.status.Enrolled.Name)
	}
	return p.farm.StartAgent(ctx, at)
}

func (p servers) Client(h deployment.Host) *api.Client {
	if p.lost[h.Address] {
		return p.farm.Client(deployment.Host{Name: h.Name, Folder: filepath.Join(p.root, "nowhere")})
	}
	return p.farm.Client(p.at(h))
}

func (p servers) Exists(_ context.Context, h deployment.Host) (bool, error) {
	if h.OnMachine() && h.Address == "" {
		return false, nil
	}
	if p.lost[h.Address] {
		return false, errors.New("no route to host")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.on[p.at(h).Folder] != nil, nil
}

func (p servers) Inspect(context.Context, deployment.Host) (api.HostStatus, error) {
	return api.HostStatus{}, nil
}

func (p servers) Destroy(ctx context.Context, h deployment.Host, keep string) error {
	at := p.at(h)
	if there, _ := p.Exists(ctx, h); !there {
		return fmt.Errorf("destroy host %q: /opt/pressenter/current: command not found; nothing was removed", h.Name)
	}
	return p.farm.Destroy(ctx, at, keep)
}

func newServers(t *testing.T) (*Session, servers) {
	s, f := newFarm(t)
	t.Helper()
	root, err := os.MkdirTemp("", "h") // a socket's path is short
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	p := servers{f, root, map[string]string{"val": "10.0.0.1"}, map[string]bool{}, map[string]bool{}}
	s.Provider = p
	s.PublicOf = func(a string) (string, error) { return a, nil }
	s.Config.Provider = config.ProviderSSH
	s.Config.Validator.Address = "10.0.0.1"
	s.Config.Sentries[0].Address, s.Config.Sentries[1].Address = "10.0.0.2", "10.0.0.3"
	return s, p
}

// up is a deployment on servers that is as it should be.
func up(t *testing.T) (*Session, servers) {
	t.Helper()
	s, p := newServers(t)
	must(t, s.Open())
	t.Cleanup(s.Close)
	applies(t, s)
	return s, p
}

func refusedPlan(t *testing.T, s *Session, words string) {
	t.Helper()
	_, err := s.Plan(t.Context())
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Why, words) {
		t.Errorf("want a refusal with %q, have %v", words, err)
	}
}

// A sentry at a mistyped address is refused, and nothing is done there when it is taken out again.
func TestServerOfOthersIsLeftAlone(t *testing.T) {
	s, p := up(t)
	p.theirs["10.0.5.5"] = true
	theirs := deployment.Host{Name: "validator", Role: "validator", Folder: filepath.Join(p.root, "10.0.5.5")}
	must(t, os.MkdirAll(theirs.Folder, 0o700))
	must(t, p.farm.StartAgent(t.Context(), theirs))
	s.Config.Sentries = append(s.Config.Sentries, config.Sentry{Name: "s3", Machine: config.Machine{Address: "10.0.5.5"}})
	pl, err := s.Plan(t.Context())
	must(t, err)
	if err := s.Do(t.Context(), pl); err == nil {
		t.Fatal("somebody else's server was taken")
	}
	s.Config.Sentries = s.Config.Sentries[:2]
	applies(t, s)
	if p.on[theirs.Folder] == nil {
		t.Error("it was removed")
	}
	if _, known := s.own.inventory.Host("s3"); known {
		t.Error("the inventory still has it")
	}
}

// A mistyped address can be mended.
func TestAddressIsMended(t *testing.T) {
	s, p := up(t)
	p.theirs["10.0.5.5"] = true
	s.Config.Sentries = append(s.Config.Sentries, config.Sentry{Name: "s3", Machine: config.Machine{Address: "10.0.5.5"}})
	pl, err := s.Plan(t.Context())
	must(t, err)
	if err := s.Do(t.Context(), pl); err == nil {
		t.Fatal("somebody else's server was taken")
	}
	s.Config.Sentries[2].Address = "10.0.0.4"
	applies(t, s)
	if h, _ := s.own.inventory.Host("s3"); h.Address != "10.0.0.4" || !h.Made {
		t.Errorf("s3 is %+v", h)
	}
}

// A host keeps its machine: what runs where it was would go on, and nobody would know of it.
func TestHostKeepsItsMachine(t *testing.T) {
	s, _ := up(t)
	was := s.Config
	s.Config.Validator.Address = "10.0.9.1"
	refusedPlan(t, s, `"validator" is the server 10.0.0.1, the config says 10.0.9.1`)
	s.Config = was
	s.Config.Sentries = []config.Sentry{{Name: "s1", Machine: config.Machine{Address: "10.0.9.2"}}, was.Sentries[1]}
	refusedPlan(t, s, `"s1" is the server`)
	s.Config = was
	s.Config.Validator = config.Validator{Count: 1, Machine: config.Machine{Provider: "hetzner"}}
	refusedPlan(t, s, `the config says a machine of hetzner`)
	s.Config = was
	s.Config.Provider = config.ProviderLocal
	refusedPlan(t, s, "on this computer")
	s.Config = was
	pl, err := s.Plan(t.Context())
	must(t, err)
	if !pl.Empty() {
		t.Errorf("after all that: %v", pl.Steps())
	}
}

// An apply that was killed between the removal and the inventory is finished by the next one.
func TestRemovedTwice(t *testing.T) {
	s, p := up(t)
	h, _ := s.own.inventory.Host("s2")
	s.Config.Sentries = s.Config.Sentries[:1]
	pl, err := s.Plan(t.Context())
	must(t, err)
	for _, step := range pl.Steps() {
		if _, last := step.(plan.DestroyHost); last {
			must(t, p.Destroy(t.Context(), h, ""))
			break
		}
		must(t, s.do(t.Context(), step))
	}
	applies(t, s)
}

// Without the inventory nobody knows where the validator is, and destroying the rest would leave it signing.
func TestDestroyWithoutInventory(t *testing.T) {
	s, p := up(t)
	s.Close()
	must(t, os.Remove(filepath.Join(s.Dir.Operator(), "inventory.json")))
	again := &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: p, Who: "me", PublicOf: s.PublicOf}
	must(t, again.Open())
	defer again.Close()
	if _, err := again.Destroy(t.Context(), false, func(Target, error) {}); err == nil || !strings.Contains(err.Error(), "inventory.json") {
		t.Errorf("destroyed: %v", err)
	}
	if p.on[filepath.Join(p.root, "10.0.0.1")] == nil {
		t.Error("the validator is gone")
	}
}

// An inventory that was lost does not make servers invisible, which say who they are; one that is another host stays unknown.
func TestLostInventoryOfServers(t *testing.T) {
	s, p := up(t)
	s.Close()
	must(t, os.Remove(filepath.Join(s.Dir.Operator(), "inventory.json")))
	must(t, s.Open())
	if left := applies(t, s); len(left) != 0 {
		t.Errorf("left to do: %q", left)
	}
	if h, known := s.own.inventory.Host("validator"); !known || !h.Made || h.Address != "10.0.0.1" {
		t.Errorf("%+v", s.own.inventory.Hosts)
	}
	s.Close()
	must(t, os.Remove(filepath.Join(s.Dir.Operator(), "inventory.json")))
	must(t, s.Open())
	v, _ := s.Head().Member("validator")
	a := p.on[filepath.Join(p.root, "10.0.0.1")]
	a.mu.Lock()
	a.status.Enrolled.Identity = born("somebody", "identity")
	a.mu.Unlock()
	refusedPlan(t, s, "validator")
	if h, known := s.own.inventory.Host("validator"); known {
		t.Errorf("%+v is taken for %v", h, v.Identity)
	}
}
