package apply

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/takeover"
)

// foreignServer is a server whose takeover is at some phase.
type foreignServer struct {
	phase takeover.Phase
	asked []string
	err   error
}

func (f *foreignServer) Suits(context.Context, deployment.Host) error { return f.err }

func (f *foreignServer) TakeOver(_ context.Context, h deployment.Host, o takeover.Order) (takeover.State, error) {
	f.asked = append(f.asked, h.Address+" "+o.Unit+" "+o.Home)
	return takeover.State{Phase: f.phase}, f.err
}

func (f *foreignServer) TakenOver(context.Context, deployment.Host) (takeover.State, error) {
	return takeover.State{Phase: f.phase}, f.err
}

func (f *foreignServer) GiveBack(context.Context, deployment.Host, []byte) (takeover.State, error) {
	return takeover.State{}, f.err
}

func joinedSession(t *testing.T) *Session {
	t.Helper()
	c := config.Practice("hub")
	c.Chain, c.Practice = config.Chain{Name: "sim", ChainID: "sim-7", Daemon: "simd", Exists: true}, config.PracticeNetwork{}
	c.Validator.Address = "v"
	s := &Session{Config: c, Dir: deployment.Dir(t.TempDir()), Who: "a test"}
	must(t, s.Open())
	t.Cleanup(s.Close)
	must(t, s.Join(deployment.Adoption{Host: "validator", Address: "v", Unit: "cosmos.service", PubKey: []byte{1}, Genesis: "a"}, "sim-7", []byte("{}")))
	must(t, s.createKeyring(s.own, plan.CreateKeyring{On: plan.On{Deployment: c.Name}}))
	return s
}

// TestJoin: a network is joined once; what was noted outlives the program.
func TestJoin(t *testing.T) {
	s := joinedSession(t)
	if b, err := os.ReadFile(filepath.Join(s.Dir.Genesis(), "genesis.json")); err != nil || string(b) != "{}" {
		t.Errorf("%q, %v", b, err)
	}
	again := *s.Adoption()
	must(t, s.Join(again, "sim-7", []byte("{}")))
	again.Genesis = "another"
	var no *plan.Refusal
	if err := s.Join(again, "sim-7", []byte("[]")); !errors.As(err, &no) {
		t.Errorf("another network was joined: %v", err)
	}
	must(t, s.Read())
	if a := s.Adoption(); a == nil || a.Genesis != "a" || a.Begun {
		t.Errorf("%+v", a)
	}
}

// TestTakeoverIsUndone: undo asks the server, which alone knows whether it is too late; while a server is in between, nothing is
// destroyed.
func TestTakeoverIsUndone(t *testing.T) {
	s := joinedSession(t)
	server := &foreignServer{}
	if undone, err := s.UndoTakeover(t.Context(), server); undone || err != nil {
		t.Errorf("before it began: %v, %v", undone, err)
	}
	s.Adoption().Begun = true
	var no *plan.Refusal
	if _, err := s.Destroy(t.Context(), false, ignore); !errors.As(err, &no) {
		t.Errorf("destroy: %v", err)
	}
	server.err = errors.New("there is no way back")
	if undone, err := s.UndoTakeover(t.Context(), server); undone || !errors.Is(err, server.err) || !s.Adoption().Begun {
		t.Errorf("the server refuses: %v, %v", undone, err)
	}
	server.err = nil
	if undone, err := s.UndoTakeover(t.Context(), server); !undone || err != nil || s.Adoption().Begun {
		t.Errorf("%v, %v", undone, err)
	}
	s.Adoption().Begun, s.Adoption().Taken = true, true
	if _, err := s.UndoTakeover(t.Context(), server); !errors.As(err, new(*takeover.NoReturn)) {
		t.Errorf("after it was taken: %v", err)
	}
}

// TestTakeoverGoesOn: one that was begun orders what was noted then, and notes that it is done before anything else.
func TestTakeoverGoesOn(t *testing.T) {
	s := joinedSession(t)
	a := s.Adoption()
	a.Begun, a.Home = true, "/home/x/.sim"
	server := &foreignServer{phase: takeover.Undoing}
	if err := s.TakeOver(t.Context(), server, nil, func(string) {}); err == nil || a.Taken {
		t.Errorf("while somebody undoes it: %v", err)
	}
	server.phase = takeover.Done
	if err := s.TakeOver(t.Context(), server, nil, func(string) {}); err == nil { // there is no daemon to plan with
		t.Error("it planned without a daemon")
	}
	must(t, s.Read())
	if a := s.Adoption(); !a.Taken || len(server.asked) != 2 || server.asked[1] != "v cosmos.service /home/x/.sim" {
		t.Errorf("%+v, %q", a, server.asked)
	}
}

// existingFarm is a farm of sentries on a network that was there, whose validator was not taken over yet.
func existingFarm(t *testing.T) (*Session, *farm) {
	t.Helper()
	s, f := newFarm(t)
	s.Config.Chain, s.Config.Practice = config.Chain{Name: "sim", ChainID: "sim-7", Daemon: "simd", Exists: true}, config.PracticeNetwork{}
	s.Config.Validator.Address = "v"
	must(t, s.Open())
	must(t, s.Join(deployment.Adoption{
		Host: "validator", Address: "v", Unit: "cosmos.service", PubKey: born("validator", "consensus"), Genesis: "a", MinGasPrice: "0usim", BlockTime: 8 * time.Millisecond,
	}, "sim-7", []byte("{}")))
	applies(t, s)
	return s, f
}
