package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/adopt"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/ssh"
	"github.com/pressenter/pressenter/internal/takeover"
)

// foreignServer is a server whose takeover is at some phase.
type foreignServer struct {
	state   takeover.State
	asked   []string
	refuses error // to begin
	mute    error // to everything
}

func (f *foreignServer) Suits(context.Context, deployment.Host) error { return f.mute }

func (f *foreignServer) TakeOver(_ context.Context, h deployment.Host, o takeover.Order) (takeover.State, error) {
	f.asked = append(f.asked, fmt.Sprintf("%s %s %s %d", h.Address, o.Unit, o.Home, o.Mark))
	if err := errors.Join(f.mute, f.refuses); err != nil {
		return takeover.State{}, err
	}
	o.Deployment, o.Host = "hub", h.Name
	f.state = takeover.State{Phase: takeover.Done, Order: o}
	return f.state, nil
}

func (f *foreignServer) TakenOver(context.Context, deployment.Host) (takeover.State, error) {
	return f.state, f.mute
}

func (f *foreignServer) GiveBack(_ context.Context, _ deployment.Host, pub []byte) (takeover.State, error) {
	if f.mute != nil || f.state.Phase == takeover.Moving || f.state.Phase == takeover.Done {
		return f.state, errors.Join(f.mute, &takeover.NoReturn{Unit: f.state.Order.Unit})
	}
	f.asked = append(f.asked, fmt.Sprintf("back %x", pub))
	f.state = takeover.State{}
	return f.state, nil
}

// ordered is a takeover of ours at some phase.
func ordered(p takeover.Phase) takeover.State {
	return takeover.State{Phase: p, Order: takeover.Order{
		Deployment: "hub", Host: "validator", Unit: "cosmos.service", Home: "/home/x/.sim", PubKey: born("validator", "consensus"), Mark: 7,
	}}
}

// takes is somebody who agrees to everything, and counts how often they were asked.
type takes struct{ looked, sure int }

func (a *takes) by() Takes {
	return Takes{
		Look: func(context.Context) (*adopt.Found, error) {
			a.looked++
			return &adopt.Found{Unit: adopt.Unit{Name: "cosmos.service"}, Home: adopt.Home{Real: "/home/x/.sim"}, Key: adopt.Key{Signed: 9}}, nil
		},
		Sure:   func(*adopt.Found) error { a.sure++; return nil },
		Report: func(string) {},
	}
}

func adoption() deployment.Adoption {
	sum := sha256.Sum256([]byte("{}"))
	return deployment.Adoption{
		Host: "validator", Address: "v", Unit: "cosmos.service", PubKey: born("validator", "consensus"), Genesis: hex.EncodeToString(sum[:]),
		MinGasPrice: "0usim", BlockTime: 8 * time.Millisecond,
	}
}

// joinedFarm is a farm of nobody yet, on a network that was there.
func joinedFarm(t *testing.T) (*Session, *farm, *foreignServer) {
	t.Helper()
	s, f := newFarm(t)
	s.Config.Chain, s.Config.Practice = config.Chain{Name: "sim", ChainID: "sim-7", Daemon: "simd", Exists: true}, config.PracticeNetwork{}
	s.Config.Validator.Address = "v"
	server := &foreignServer{}
	s.Servers = server
	must(t, s.Open())
	must(t, s.Join(adoption(), "sim-7", []byte("{}")))
	return s, f, server
}

// existingFarm is a farm of sentries on a network that was there, whose validator was not taken over yet.
func existingFarm(t *testing.T) (*Session, *farm, *foreignServer) {
	t.Helper()
	s, f, server := joinedFarm(t)
	applies(t, s)
	return s, f, server
}

// TestJoin: a network is joined once, what was noted outlives the program, and what was read of the node can be read again.
func TestJoin(t *testing.T) {
	s, _, _ := joinedFarm(t)
	path := filepath.Join(s.Dir.Genesis(), "genesis.json")
	if b, err := os.ReadFile(path); err != nil || string(b) != "{}" {
		t.Errorf("%q, %v", b, err)
	}
	other := adoption()
	other.Genesis = "another"
	must(t, s.Join(other, "sim-7", []byte("[]"))) // nothing was made: the wrong one can be taken back
	must(t, os.Remove(path))
	again := adoption()
	again.NodeID, again.Peers = "v", []string{"new", "v@itself:1"}
	must(t, s.Join(again, "sim-7", []byte("{}")))
	if b, err := os.ReadFile(path); err != nil || string(b) != "{}" || !slices.Equal(s.Adoption().Peers, []string{"new"}) {
		t.Errorf("%q, %v, %+v", b, err, s.Adoption())
	}
	must(t, s.Join(adoption(), "sim-7", []byte("{}")))
	applies(t, s)
	var no *plan.Refusal
	if err := s.Join(other, "sim-7", []byte("[]")); !errors.As(err, &no) {
		t.Errorf("another network was joined: %v", err)
	}
	s.Adoption().Begun = true
	must(t, s.Join(again, "sim-7", []byte("{}")))
	must(t, s.Read())
	if a := s.Adoption(); a == nil || a.Genesis != adoption().Genesis || !a.Begun || len(a.Peers) != 0 {
		t.Errorf("once it was begun, it is as it was noted: %+v", a)
	}
}

// TestRejoin: who lost the inventory has it again from what the server was ordered.
func TestRejoin(t *testing.T) {
	s, _, _ := joinedFarm(t)
	must(t, os.Remove(filepath.Join(s.Dir.Operator(), "inventory.json")))
	must(t, s.Read())
	a := adoption()
	a.Begun, a.Taken = true, true
	must(t, s.Join(a, "sim-7", []byte("{}")))
	if got := s.Adoption(); !got.Begun || !got.Taken || got.Kept {
		t.Errorf("%+v", got)
	}
}

// TestUndo: the server alone knows what there is to undo, and whether it is too late.
func TestUndo(t *testing.T) {
	for name, tt := range map[string]struct {
		state  takeover.State
		mute   error
		unit   string
		says   string
		begun  bool
		orders int
	}{
		"none":              {takeover.State{}, nil, "", "", false, 0},
		"silencing":         {ordered(takeover.Silencing), nil, "cosmos.service", "", false, 1},
		"undoing":           {ordered(takeover.Undoing), nil, "cosmos.service", "", false, 1},
		"moving":            {ordered(takeover.Moving), nil, "", "no way back", true, 0},
		"done":              {ordered(takeover.Done), nil, "", "no way back", true, 0},
		"it is not reached": {ordered(takeover.Silencing), errors.New("no route"), "", "no route", true, 0},
		"somebody else's":   {func() takeover.State { st := ordered(takeover.Silencing); st.Order.Deployment = "lub"; return st }(), nil, "", `"lub"`, true, 0},
		"of another key":    {func() takeover.State { st := ordered(takeover.Silencing); st.Order.PubKey = []byte{1}; return st }(), nil, "", "nothing was done", true, 0},
	} {
		s, _, server := joinedFarm(t)
		s.Adoption().Begun = true
		server.state, server.mute = tt.state, tt.mute
		unit, err := s.UndoTakeover(t.Context(), s.adopted())
		if unit != tt.unit || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) || s.Adoption().Begun != tt.begun || len(server.asked) != tt.orders {
			t.Errorf("%s: %q, %v, %+v, %q", name, unit, err, s.Adoption(), server.asked)
		}
		s.Close()
	}
}

// TestUndoOfNothingKnown: an inventory that is lost or older does not keep a server masked.
func TestUndoOfNothingKnown(t *testing.T) {
	s, _, server := joinedFarm(t)
	h := s.adopted()
	s.own.inventory = deployment.Inventory{}
	server.state = ordered(takeover.Silencing)
	if unit, err := s.UndoTakeover(t.Context(), h); err != nil || unit != "cosmos.service" {
		t.Errorf("%q, %v", unit, err)
	}
}

// TestRefusedBeginning: a server that refused, and changed nothing, is not being taken over: the next try is a first one.
func TestRefusedBeginning(t *testing.T) {
	s, _, server := existingFarm(t)
	server.refuses = &ssh.ExitError{Status: 1, Stderr: "nothing was changed: the home is on another disk"}
	var by takes
	if err := s.TakeOver(t.Context(), by.by()); !errors.Is(err, server.refuses) || s.Adoption().Begun {
		t.Errorf("%v, %+v", err, s.Adoption())
	}
	must(t, s.Read())
	if s.Adoption().Begun {
		t.Error("it is noted as begun")
	}
	server.mute = errors.New("no route")
	s.Adoption().Begun = true // as one that was cut off before the server had the order
	if err := s.TakeOver(t.Context(), by.by()); !errors.Is(err, server.mute) || by.sure != 1 {
		t.Errorf("%v, asked %d times", err, by.sure)
	}
	server.mute = nil
	if err := s.TakeOver(t.Context(), by.by()); !errors.Is(err, server.refuses) || by.sure != 2 || by.looked != 2 {
		t.Errorf("%v, asked %d times, looked %d times", err, by.sure, by.looked)
	}
}

// TestBeginningCutOff: a server that says that nothing was begun, to somebody whose order was cut off, may still be checking.
func TestBeginningCutOff(t *testing.T) {
	s, _, server := existingFarm(t)
	server.refuses = errors.New("connection reset by peer")
	var by takes
	if err := s.TakeOver(t.Context(), by.by()); !errors.As(err, new(*GoesOn)) || !s.Adoption().Begun {
		t.Errorf("%v, %+v", err, s.Adoption())
	}
}

// TestTakeOver: what was begun goes on by the server's own word, and what has more to do than that is not done unseen.
func TestTakeOver(t *testing.T) {
	s, f, server := existingFarm(t)
	server.state = ordered(takeover.Silencing)
	var by takes
	was := s.Config.Sentries
	s.Config.Sentries = was[:1]
	var no *plan.Refusal
	if err := s.TakeOver(t.Context(), by.by()); !errors.As(err, &no) || !strings.Contains(no.Next, "pressenter apply") || by.looked+by.sure != 0 {
		t.Errorf("a sentry less: %v", err)
	}
	if _, known := s.own.inventory.Host("validator"); known || len(f.on) != 2 || !slices.Equal(server.asked, []string{"v cosmos.service /home/x/.sim 7"}) {
		t.Errorf("it did something: %+v, %q", s.own.inventory.Hosts, server.asked)
	}
	s.Config.Sentries = was
	must(t, s.TakeOver(t.Context(), by.by()))
	if a := s.Adoption(); !a.Taken || !a.Kept {
		t.Errorf("%+v", a)
	}
	if left := applies(t, s); len(left) != 0 {
		t.Errorf("left to do: %q", left)
	}
}

// TestTakenAgain: a server that was put back to before its takeover is looked at and asked for again: its old unit may sign.
func TestTakenAgain(t *testing.T) {
	s, _, server := existingFarm(t)
	s.Adoption().Begun, s.Adoption().Taken = true, true
	var by takes
	must(t, s.TakeOver(t.Context(), by.by()))
	if by.looked != 1 || by.sure != 1 || len(server.asked) != 1 || !s.Adoption().Kept {
		t.Errorf("looked %d times, asked %d times, ordered %q, %+v", by.looked, by.sure, server.asked, s.Adoption())
	}
}

// TestTakenIsAnother: a server that does not say that it was taken over becomes no host, and one that bears another key gets no
// place in the roster.
func TestTakenIsAnother(t *testing.T) {
	s, _, server := existingFarm(t)
	s.Adoption().Begun, s.Adoption().Taken = true, true
	p, err := s.Plan(t.Context())
	must(t, err)
	var no *plan.Refusal
	if err := s.Do(t.Context(), p); !errors.As(err, &no) || !strings.Contains(no.Why, "does not say so") {
		t.Errorf("a server without a journal: %v", err)
	}
	server.state = ordered(takeover.Done)
	s.Adoption().PubKey = []byte("another")
	server.state.Order.PubKey = s.Adoption().PubKey
	if err := s.Do(t.Context(), p); !errors.As(err, &no) || !strings.Contains(no.Why, "another consensus key") {
		t.Errorf("another key: %v", err)
	}
	if _, member := s.Head().Member("validator"); member || s.Adoption().Kept {
		t.Error("it is in the roster")
	}
}

// TestBetween: while the only copy of the key may be on a server that is between its unit and ours, nothing is destroyed; one that
// is dead is passed over by name only, and with the keys kept.
func TestBetween(t *testing.T) {
	away := errors.New("no route")
	for name, tt := range map[string]struct {
		taken, kept bool
		state       takeover.State
		mute        error
		named       bool
		keys        bool
		why         string // "": it is destroyed
	}{
		"silencing":                 {false, false, ordered(takeover.Silencing), nil, false, false, "is being taken over"},
		"silencing, and named":      {false, false, ordered(takeover.Silencing), nil, true, false, "is being taken over"},
		"done, not enrolled":        {true, false, ordered(takeover.Done), nil, false, false, "is being taken over"},
		"done, not enrolled, named": {true, false, ordered(takeover.Done), nil, true, false, "is being taken over"},
		"enrolled and kept":         {true, true, ordered(takeover.Done), nil, false, false, ""},
		"the server knows of none":  {false, false, takeover.State{}, nil, false, false, ""},
		"none, and it was taken":    {true, false, takeover.State{}, nil, false, false, "only copy"},
		"it is dead":                {false, false, takeover.State{}, away, false, false, "no route"},
		"it is dead, and named":     {false, false, takeover.State{}, away, true, false, ""},
		"with the keys":             {true, false, takeover.State{}, away, true, true, "no route"},
		"it was taken, dead, named": {true, false, takeover.State{}, away, true, false, ""},
	} {
		s, f, server := existingFarm(t)
		a := s.Adoption()
		a.Begun, a.Taken, a.Kept = true, tt.taken, tt.kept
		server.state, server.mute = tt.state, tt.mute
		if tt.named {
			s.Unreached = []string{"validator"}
		}
		_, err := s.Destroy(t.Context(), tt.keys, ignore)
		var no *plan.Refusal
		if (err == nil) != (tt.why == "") || err != nil && (!errors.As(err, &no) || !strings.Contains(no.Why, tt.why) || no.Next == "") || (len(f.on) == 0) != (tt.why == "") {
			t.Errorf("%s: %v, %d agents run", name, err, len(f.on))
		}
		s.Close()
	}
}

// TestUnknownTakeover: what this folder does not know to be begun may be begun.
func TestUnknownTakeover(t *testing.T) {
	for _, at := range []takeover.Phase{takeover.Silencing, takeover.Moving, takeover.Done} {
		s, f, server := existingFarm(t)
		server.state = ordered(at)
		running := len(f.on)
		if _, err := s.Destroy(t.Context(), false, ignore); err == nil || !strings.Contains(err.Error(), "being taken over") || len(f.on) != running {
			t.Errorf("%s: %v, %d of %d agents run", at, err, len(f.on), running)
		}
		s.Close()
	}
}

// TestOlderFolderDestroysNothing: a folder from before the takeover learns of the validator before it takes its sentries away.
func TestOlderFolderDestroysNothing(t *testing.T) {
	s, f, server := existingFarm(t)
	server.state = ordered(takeover.Done)
	older := t.TempDir()
	must(t, os.CopyFS(older, os.DirFS(s.Dir.Operator())))
	var by takes
	must(t, s.TakeOver(t.Context(), by.by()))
	s.Close()
	must(t, os.RemoveAll(s.Dir.Operator()))
	must(t, os.CopyFS(s.Dir.Operator(), os.DirFS(older)))
	again := &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: f, Servers: server, Who: "me"}
	must(t, again.Open())
	defer again.Close()
	again.own.inventory.Drop("validator") // which is on a machine: its folder does not tell of it
	running := len(f.on)
	if _, err := again.Destroy(t.Context(), false, ignore); err == nil || !strings.Contains(err.Error(), "inventory.json") || len(f.on) != running {
		t.Errorf("%v, %d of %d agents run", err, len(f.on), running)
	}
}
