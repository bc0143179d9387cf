package apply

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
	"github.com/pressenter/pressenter/internal/roster"
)

// replaces plans a replacement, kills it before a step, and lets the next session, with or without being told of it, go on.
// It returns false where there is no such step.
func replaces(t *testing.T, s *Session, kill int, told bool) (next *Session, more bool) {
	t.Helper()
	s.Replace = "s1"
	p, err := s.Plan(t.Context())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	s.Crash = func(plan.Step, bool) {
		if n++; n == 2*kill-1 { // before the step
			more = true
			cancel()
		}
	}
	err = s.Do(ctx, p)
	var cut *Interrupted
	if err != nil && !errors.As(err, &cut) {
		t.Fatal(err)
	}
	s.Close()
	next = &Session{Config: s.Config, Dir: s.Dir, Daemon: s.Daemon, Provider: s.Provider, Who: s.Who, PublicOf: s.PublicOf}
	must(t, next.Open())
	t.Cleanup(next.Close)
	if more && (told || kill == 1) {
		next.Replace = "s1"
	}
	if more {
		applies(t, next)
	}
	next.Replace = ""
	if words := applies(t, next); len(words) > 0 {
		t.Errorf("killed before step %d, left to do: %q", kill, words)
	}
	return next, more
}

// A sentry on this computer is a new one, wherever that was interrupted.
func TestReplaceInPlace(t *testing.T) {
	for kill, more := 1, true; more; kill++ {
		s, _ := newFarm(t)
		must(t, s.Open())
		applies(t, s)
		before := s.Head()
		s, more = replaces(t, s, kill, kill%2 == 0)
		replaced(t, before, s.Head())
	}
}

// replaced says whether s1, and nobody else, is another one now.
func replaced(t *testing.T, before, head *roster.Roster) {
	t.Helper()
	for _, m := range before.Members {
		now, is := head.Member(m.Name)
		if !is || (now.Identity != m.Identity) != (m.Name == "s1") || head.Tombstoned(m.Identity) != (m.Name == "s1") {
			t.Errorf("%s was %s, is %s", m.Name, m.Identity, now.Identity)
		}
	}
	if before.Signer != head.Signer {
		t.Errorf("the signer was %+v, is %+v", before.Signer, head.Signer)
	}
}

// A sentry moves to another server: the old one is left alone only if nobody reaches it.
func TestReplaceMoves(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for kill, more := 1, true; more; kill++ {
			s, p := up(t)
			before := s.Head()
			old, _ := s.own.inventory.Host("s1")
			if lost {
				must(t, p.farm.StopAgent(t.Context(), p.at(old)))
				p.lost[old.Address] = true
			}
			s.Config.Sentries = slices.Clone(s.Config.Sentries)
			s.Config.Sentries[0].Address = "10.0.0.9"
			s, more = replaces(t, s, kill, kill%2 == 0)
			replaced(t, before, s.Head())
			h, _ := s.own.inventory.Host("s1")
			if h.Address != "10.0.0.9" || h.Number != 1 || len(s.own.inventory.Replaced) > 0 {
				t.Errorf("lost %v, killed before step %d: s1 is %+v, replaced %+v", lost, kill, h, s.own.inventory.Replaced)
			}
			if !lost && p.on[filepath.Join(p.root, "10.0.0.2")] != nil {
				t.Error("the old machine goes on")
			}
		}
	}
}

// The old machine stays until the validator is linked to the new one.
func TestReplacedStaysUntilTheNextHasJoined(t *testing.T) {
	s, p := halfReplaced(t)
	if p.on[filepath.Join(p.root, "10.0.0.2")] == nil || len(s.own.inventory.Replaced) != 1 {
		t.Error("the old machine is gone")
	}
}

// A destroy takes both machines of a sentry that is being replaced, and goes on where it was cut off between them.
func TestDestroyWhileReplaced(t *testing.T) {
	for _, at := range []string{"", "10.0.0.2"} {
		s, p := halfReplaced(t)
		s = anew(t, s, p)
		if at != "" { // its server was taken down already
			p.lost[at] = true
			must(t, p.farm.StopAgent(t.Context(), deployment.Host{Folder: filepath.Join(p.root, at)}))
			var no *NotReached
			if _, err := s.Destroy(t.Context(), false, ignore); !errors.As(err, &no) || !strings.Contains(no.Hint(), "--unreached s1'") {
				t.Fatalf("one that is not reached was passed over: %v", err)
			}
			if s.own.inventory.Destroying || len(s.own.inventory.Hosts) != 3 {
				t.Errorf("something was destroyed: %+v", s.own.inventory)
			}
			s = anew(t, s, p)
			s.Unreached = []string{"s1"}
		}
		if _, err := s.Destroy(t.Context(), false, ignore); err != nil {
			t.Fatal(err)
		}
		if len(p.on) != 0 || len(s.own.inventory.Replaced) != 0 {
			t.Errorf("%d agents run, replaced %+v", len(p.on), s.own.inventory.Replaced)
		}
	}
}

// Machines that are paid for are asked for by their own names, of which a host may have had several.
func TestPaidFor(t *testing.T) {
	got := paidFor([]deployment.Host{
		{Name: "s1", Provider: "hetzner", Address: "a", Number: 1}, {Name: "s1", Provider: "hetzner", Address: "b"}, {Name: "s2", Provider: "vultr"},
	})
	if !slices.Equal(got, []string{"s1--1", "s1"}) {
		t.Errorf("paid for: %v", got)
	}
}

// A sentry that was broken into has no say in its own replacement, by whichever request it refuses: it is out of the roster,
// and what is done does not wait for it.
func TestReplacedHasNoVeto(t *testing.T) {
	s, p := up(t)
	before := s.Head()
	old := p.on[filepath.Join(p.root, "10.0.0.2")]
	old.mu.Lock()
	old.bad = true
	old.mu.Unlock()
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	must(t, s.LockHosts(t.Context()))
	applies(t, s)
	replaced(t, before, s.Head())
	for _, at := range []string{"10.0.0.1", "10.0.0.3", "10.0.0.9"} {
		if was, _ := before.Member("s1"); !p.on[filepath.Join(p.root, at)].store.State().Head.Tombstoned(was.Identity) {
			t.Errorf("%s still has the old s1", at)
		}
	}
	if s.Replace = ""; len(applies(t, s)) > 0 {
		t.Error("something is left to do")
	}
}

// Nor has one that is made anew where it is, or that leaves for good.
func TestLeavingHasNoVeto(t *testing.T) {
	for _, stays := range []bool{true, false} {
		s, f := newFarm(t)
		must(t, s.Open())
		applies(t, s)
		was, _ := s.Head().Member("s1")
		h, _ := s.own.inventory.Host("s1")
		a := f.on[h.Folder]
		a.mu.Lock()
		a.bad = true
		a.mu.Unlock()
		if stays {
			s.Replace = "s1"
		} else {
			s.Config.Sentries = s.Config.Sentries[1:]
		}
		must(t, s.LockHosts(t.Context()))
		applies(t, s)
		if !s.Head().Tombstoned(was.Identity) || f.on[h.Folder] == a {
			t.Errorf("to stay %v: it is still there", stays)
		}
	}
}

// No sentry keeps a destroy from beginning, by no lock and by a made-up one. One that stays is heard.
func TestSentryHasNoVetoOverDestroy(t *testing.T) {
	for name, refuse := range map[string]func(*fakeAgent){
		"refuses": func(a *fakeAgent) { a.bad = true },
		"says that somebody has it": func(a *fakeAgent) {
			a.refused = &api.LockHolder{Holder: "nobody", Since: time.Now()}
		},
	} {
		s, f := newFarm(t)
		must(t, s.Open())
		applies(t, s)
		h, _ := s.own.inventory.Host("s1")
		a := f.on[h.Folder]
		a.mu.Lock()
		refuse(a)
		a.mu.Unlock()
		if err := s.LockHosts(t.Context()); err == nil {
			t.Errorf("%s: a plain apply begins without its lock", name)
		}
		must(t, s.LockToDestroy(t.Context()))
		if _, err := s.Destroy(t.Context(), false, ignore); err != nil || len(f.on) > 0 {
			t.Errorf("%s: %v, %d agents run", name, err, len(f.on))
		}
	}
}

// Who takes the question for the lock and gives no answer is not waited for for ever.
func TestLockIsNotWaitedForForEver(t *testing.T) {
	s, f := newFarm(t)
	must(t, s.Open())
	applies(t, s)
	h, _ := s.own.inventory.Host("s1")
	a := f.on[h.Folder]
	a.mu.Lock() // it answers nothing
	defer a.mu.Unlock()
	if err := s.lockHost(t.Context(), h, time.Nanosecond); err == nil || !strings.Contains(err.Error(), "did not answer within") {
		t.Errorf("it was waited for: %v", err)
	}
}

// halfReplaced is a deployment on servers while the machine that takes the place of s1 has not joined yet.
func halfReplaced(t *testing.T) (*Session, servers) {
	t.Helper()
	s, p := up(t)
	v, _ := s.own.inventory.Host("validator")
	a := p.on[p.at(v).Folder]
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	pl, err := s.Plan(t.Context())
	must(t, err)
	a.mu.Lock()
	a.unlinked = []string{"s1"}
	a.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Progress = func(e Event) {
		if strings.Contains(e.Word, "it has no link to s1 yet") {
			cancel()
		}
	}
	var cut *Interrupted
	if err := s.Do(ctx, pl); !errors.As(err, &cut) {
		t.Fatalf("it did not wait: %v", err)
	}
	s.Progress = nil
	return s, p
}

// A server whose address changed is the host that it was.
func TestReplacedByItself(t *testing.T) {
	s, p := up(t)
	before := s.Head()
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	p.leads["10.0.0.9"] = "10.0.0.2"
	p.lost["10.0.0.2"] = true
	applies(t, s)
	m, _ := s.Head().Member("s1")
	if was, _ := before.Member("s1"); was.Identity != m.Identity || p.on[filepath.Join(p.root, "10.0.0.2")] == nil {
		t.Errorf("s1 was %s, is %s", was.Identity, m.Identity)
	}
	s.Replace = ""
	if words := applies(t, s); len(words) > 0 || len(s.own.inventory.Replaced) > 0 {
		t.Errorf("left to do: %q, replaced %+v", words, s.own.inventory.Replaced)
	}
}

// While a sentry is replaced its name is the machine that still serves.
func TestHostsWhileReplaced(t *testing.T) {
	s, _ := up(t)
	s.own.inventory.Replace(deployment.Host{Name: "s1", Role: roster.RoleSentry, Provider: "ssh", Number: 1}, roster.Key{1})
	targets, err := s.Hosts([]string{"s1"})
	if err != nil || len(targets) != 1 || targets[0].Host.Address != "10.0.0.2" {
		t.Errorf("%+v, %v", targets, err)
	}
	m, _ := s.Head().Member("s1") // it is made, and not in the roster yet
	s.own.inventory.Replaced[0].Identity = m.Identity
	s.own.inventory.Put(deployment.Host{Name: "s1", Role: roster.RoleSentry, Provider: "ssh", Number: 1, Address: "10.0.0.9", Made: true})
	targets, err = s.Hosts([]string{"s1", "s1--1"})
	if err != nil || len(targets) != 2 || targets[0].Host.Address != "10.0.0.2" || targets[1].Host.Address != "10.0.0.9" {
		t.Errorf("%+v, %v", targets, err)
	}
	s.own.inventory.Replaced[0].Identity = roster.Key{9} // it is
	if targets, err = s.Hosts([]string{"s1"}); err != nil || targets[0].Host.Address != "10.0.0.9" {
		t.Errorf("%+v, %v", targets, err)
	}
}

// A validator whose node does not answer for a moment is not taken for one that has the new sentry.
func TestSilentValidatorHasNotJoined(t *testing.T) {
	s, p := up(t)
	v, _ := s.own.inventory.Host("validator")
	a := p.on[p.at(v).Folder]
	asked := 0
	a.mu.Lock()
	a.unlinked = []string{"s1"}
	a.onAsk = func(int) {
		if asked++; asked < 3 {
			a.status.Node.Answers, a.status.Node.Peers = false, nil
		} else if asked > 4 {
			a.unlinked = nil
		}
	}
	a.mu.Unlock()
	s1, _ := s.own.inventory.Host("s1")
	must(t, s.awaitJoined(t.Context(), s.own, s1))
	if asked < 5 {
		t.Errorf("it was asked %d times", asked)
	}
	a.mu.Lock()
	a.status.Intent = api.Intent{Held: true, By: "you"}
	a.mu.Unlock()
	if err := s.awaitJoined(t.Context(), s.own, s1); err == nil || !strings.Contains(err.Error(), "held by you") {
		t.Errorf("while it is held: %v", err)
	}
	a.mu.Lock()
	a.status.Intent, a.status.Reason = api.Intent{Stopped: true}, "stopped by you"
	a.onAsk = func(int) { a.status.Node.Answers, a.status.Node.Peers = false, nil }
	a.mu.Unlock()
	must(t, s.awaitJoined(t.Context(), s.own, s1)) // it has no links to lose
}

// A replacement is taken back before it is in the roster: the old server goes on as it was, and the new one is cleared.
func TestReplaceTakenBack(t *testing.T) {
	s, p := up(t)
	before := s.Head()
	was := s.Config
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	pl, err := s.Plan(t.Context())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Crash = func(st plan.Step, _ bool) {
		if pub, is := st.(plan.PublishRoster); is && pub.Deployment == "hub" {
			cancel()
		}
	}
	var cut *Interrupted
	if err := s.Do(ctx, pl); !errors.As(err, &cut) {
		t.Fatal(err)
	}
	s = anew(t, s, p)
	s.Config = was
	refusedPlan(t, s, "a host keeps its machine")
	s.Replace, s.Cancel = "s1", true
	words := applies(t, s)
	if len(words) == 0 || !strings.Contains(words[0], "take back the replacement of s1") {
		t.Errorf("it did %q", words)
	}
	s = anew(t, s, p)
	if words := applies(t, s); len(words) > 0 {
		t.Errorf("left to do: %q", words)
	}
	for _, m := range before.Members {
		if now, is := s.Head().Member(m.Name); !is || now.Identity != m.Identity {
			t.Errorf("%s was %s, is %s", m.Name, m.Identity, now.Identity)
		}
	}
	if h, _ := s.own.inventory.Host("s1"); h.Address != "10.0.0.2" || len(s.own.inventory.Replaced) > 0 || p.on[filepath.Join(p.root, "10.0.0.9")] != nil {
		t.Errorf("s1 is %+v, replaced %+v", h, s.own.inventory.Replaced)
	}
}

// A server that one login does not reach is not forgotten with what runs on it; one that is gone is.
func TestReplacedServerIsNotForgotten(t *testing.T) {
	s, p := up(t)
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	pl, err := s.Plan(t.Context())
	must(t, err)
	s.Crash = func(st plan.Step, after bool) {
		if _, is := st.(plan.RemoveReplaced); is && !after {
			p.lost["10.0.0.2"] = true
		}
	}
	if err := s.Do(t.Context(), pl); err == nil || !strings.Contains(err.Error(), "was reached a while ago") {
		t.Errorf("it was forgotten: %v", err)
	}
	s.Crash = nil
	s = anew(t, s, p)
	if applies(t, s); len(s.own.inventory.Replaced) > 0 {
		t.Errorf("it is not passed over: %+v", s.own.inventory.Replaced)
	}
}

// A replacement by the same server, which the config only spelt another way, is taken back: nothing is removed there.
func TestReplaceByItselfTakenBack(t *testing.T) {
	s, p := up(t)
	before := s.Head()
	was := s.Config
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	p.leads["10.0.0.9"] = "10.0.0.2"
	pl, err := s.Plan(t.Context())
	must(t, err)
	cutOffAfter[plan.CreateHost](t, s, pl)
	s = anew(t, s, p)
	s.Config = was
	s.Replace, s.Cancel = "s1", true
	a := p.on[filepath.Join(p.root, "10.0.0.2")]
	applies(t, s)
	m, _ := s.Head().Member("s1")
	if w, _ := before.Member("s1"); p.on[filepath.Join(p.root, "10.0.0.2")] != a || m.Identity != w.Identity {
		t.Errorf("the sentry that serves was removed; s1 was %s, is %s", w.Identity, m.Identity)
	}
	s = anew(t, s, p)
	if words := applies(t, s); len(words) > 0 || len(s.own.inventory.Replaced) > 0 {
		t.Errorf("left to do: %q, replaced %+v", words, s.own.inventory.Replaced)
	}
}

// A sentry that is taken out while it is replaced, and is put back before its old machine is cleared, is a third machine.
func TestPutBackWhileItsOldMachineIsNoted(t *testing.T) {
	s, p := halfReplaced(t)
	s = anew(t, s, p)
	v, _ := s.own.inventory.Host("validator")
	a := p.on[p.at(v).Folder]
	a.mu.Lock()
	a.unlinked = nil
	a.mu.Unlock()
	full := s.Config
	s.Config.Sentries = slices.Clone(full.Sentries)[1:]
	pl, err := s.Plan(t.Context())
	must(t, err)
	cutOffAfter[plan.DestroyHost](t, s, pl)
	s = anew(t, s, p)
	s.Config.Sentries = slices.Clone(full.Sentries)
	s.Config.Sentries[0].Address = "10.0.0.7"
	applies(t, s)
	if h, _ := s.own.inventory.Host("s1"); h.Machine() != "s1--1" || h.Address != "10.0.0.7" || len(s.own.inventory.Replaced) > 0 {
		t.Errorf("s1 is %+v, replaced %+v", h, s.own.inventory.Replaced)
	}
	if words := applies(t, s); len(words) > 0 || len(p.on) != 6 {
		t.Errorf("left to do: %q, %d agents run", words, len(p.on))
	}
}

// The roster forks while the machine that takes the place of s1 is half made: it is healed without that, and the replacement goes on.
func TestForkWhileReplaced(t *testing.T) {
	s, p := up(t)
	before := s.Head()
	s.Config.Sentries = slices.Clone(s.Config.Sentries)
	s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
	pl, err := s.Plan(t.Context())
	must(t, err)
	cutOffAfter[plan.CreateHost](t, s, pl)
	k, err := s.keys(s.own)
	must(t, err)
	var envs []roster.Envelope
	for _, price := range []string{"1uprac", "2uprac"} {
		n := roster.Next(before)
		n.Chain.MinGasPrice = price
		e, err := roster.Sign(n, k.AdminKey())
		must(t, err)
		envs = append(envs, e)
	}
	must(t, s.own.rosters.Learn(envs))
	s = anew(t, s, p)
	applies(t, s)
	if s.Head() == nil || p.on[filepath.Join(p.root, "10.0.0.2")] == nil {
		t.Fatal("it is not healed, or the old machine is gone")
	}
	applies(t, s)
	if words := applies(t, s); len(words) > 0 {
		t.Errorf("left to do: %q", words)
	}
	was, _ := before.Member("s1")
	if m, is := s.Head().Member("s1"); !is || m.Identity == was.Identity || len(s.own.inventory.Replaced) > 0 {
		t.Errorf("s1 is %+v, replaced %+v", m, s.own.inventory.Replaced)
	}
}

// A brought sentry that refuses to be cleared, once it has left or was replaced, is left as it is if a person names it.
func TestRefusesToBeCleared(t *testing.T) {
	for _, moves := range []bool{true, false} {
		s, p := up(t)
		s.Provider = breaks{p, "s1", false}
		s.Config.Sentries = slices.Clone(s.Config.Sentries)
		if moves {
			s.Config.Sentries[0].Address, s.Replace = "10.0.0.9", "s1"
		} else {
			s.Config.Sentries = s.Config.Sentries[1:]
		}
		pl, err := s.Plan(t.Context())
		must(t, err)
		if err := s.Do(t.Context(), pl); !errors.Is(err, errBroke) || !strings.Contains(err.Error(), "apply --unreached s1'") {
			t.Errorf("moves %v: %v", moves, err)
		}
		s = anew(t, s, breaks{p, "s1", false})
		s.Unreached = []string{"s1"}
		applies(t, s)
		if words := applies(t, s); len(words) > 0 || len(s.own.inventory.Replaced) > 0 {
			t.Errorf("moves %v: left to do: %q, replaced %+v", moves, words, s.own.inventory.Replaced)
		}
	}
}

// cutOffAfter does a plan until the first step of a kind is done.
func cutOffAfter[S plan.Step](t *testing.T, s *Session, p plan.Plan) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Crash = func(st plan.Step, after bool) {
		if _, is := st.(S); is && after {
			cancel()
		}
	}
	defer func() { s.Crash = nil }()
	var cut *Interrupted
	if err := s.Do(ctx, p); !errors.As(err, &cut) {
		t.Fatalf("it was not cut off: %v", err)
	}
}

// The other sentry loses its link while the new machine is set up, or right before one is made anew where it is: the one that
// serves stays.
func TestCutOffMeanwhile(t *testing.T) {
	for _, moves := range []bool{true, false} {
		s, p := up(t)
		before := s.Head()
		v, _ := s.own.inventory.Host("validator")
		a := p.on[p.at(v).Folder]
		s.Replace = "s1"
		if moves {
			s.Config.Sentries = slices.Clone(s.Config.Sentries)
			s.Config.Sentries[0].Address = "10.0.0.9"
		}
		pl, err := s.Plan(t.Context())
		must(t, err)
		s.Crash = func(st plan.Step, after bool) {
			_, out := st.(plan.TakeOut)
			e, is := st.(plan.Enroll)
			if out && !after || is && after && e.Name == "s1" && moves {
				a.mu.Lock()
				a.unlinked = []string{"s2"} // its node died; its agent answers
				a.mu.Unlock()
			}
		}
		var refusal *plan.Refusal
		if err := s.Do(t.Context(), pl); !errors.As(err, &refusal) || !strings.Contains(refusal.Why, "cut off while s1") {
			t.Errorf("moves %v: %v", moves, err)
		}
		if was, _ := before.Member("s1"); s.Head().Tombstoned(was.Identity) {
			t.Errorf("moves %v: the last one that serves is out", moves)
		}
		a.mu.Lock()
		a.unlinked = nil
		a.mu.Unlock()
		s.Crash = nil
		if s = anew(t, s, p); !moves {
			s.Replace = "s1"
		}
		applies(t, s)
		replaced(t, before, s.Head())
	}
}
