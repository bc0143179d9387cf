package invite

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/roster"
)

const code = "4321-alpha-bravo-charlie"

var errCut = errors.New("the connection was cut")

// room is where two meet in memory.
type room struct {
	code     string
	payload  []byte
	taken    chan error // what the sender learns
	receives chan received
}

type received struct {
	payload []byte
	err     error
}

// rooms carries in memory, as croc does: the first four characters choose the room, a wrong code fails on both sides,
// and a room is for two and for once.
type rooms struct {
	mu    sync.Mutex
	rooms map[string]*room
	// change, if set, changes what is carried or cuts it; n counts transfers from 1.
	change func(n int, payload []byte) ([]byte, error)
	n      int
	// seen is everything that went through.
	seen [][]byte
}

func newRooms() *rooms { return &rooms{rooms: map[string]*room{}} }

// meet returns the room of code, and whether the caller is the second in it, who empties it.
func (r *rooms) meet(code string, sends bool) (*room, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := code[:4]
	if m, ok := r.rooms[key]; ok {
		if sends == (m.payload != nil) {
			return nil, false, errors.New("both send, or both receive")
		}
		delete(r.rooms, key)
		return m, true, nil
	}
	m := &room{code: code, taken: make(chan error, 1), receives: make(chan received, 1)}
	r.rooms[key] = m
	return m, false, nil
}

func (r *rooms) leave(m *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rooms[m.code[:4]] == m {
		delete(r.rooms, m.code[:4])
	}
}

// carry hands over once both are there.
func (r *rooms) carry(m *room, sender, receiver string, payload []byte) {
	if sender != receiver {
		m.receives <- received{err: errors.New("the codes differ")}
		m.taken <- errors.New("the codes differ")
		return
	}
	r.mu.Lock()
	r.n++
	n := r.n
	r.seen = append(r.seen, bytes.Clone(payload))
	r.mu.Unlock()
	var err error
	if r.change != nil {
		payload, err = r.change(n, bytes.Clone(payload))
	}
	m.receives <- received{payload: payload, err: err}
	m.taken <- err
}

func (r *rooms) Send(ctx context.Context, code string, payload []byte) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m, second, err := r.meet(code, true)
	if err != nil {
		return err
	}
	if second {
		r.carry(m, code, m.code, payload)
	} else {
		r.mu.Lock()
		m.payload = payload
		r.mu.Unlock()
	}
	select {
	case err := <-m.taken:
		return err
	case <-ctx.Done():
		r.leave(m)
		return ctx.Err()
	}
}

func (r *rooms) Receive(ctx context.Context, code string, limit int) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	m, second, err := r.meet(code, false)
	if err != nil {
		return nil, err
	}
	if second {
		r.carry(m, m.code, code, m.payload)
	}
	select {
	case got := <-m.receives:
		if len(got.payload) > limit {
			return nil, errors.New("too much")
		}
		return got.payload, got.err
	case <-ctx.Done():
		r.leave(m)
		return nil, ctx.Err()
	}
}

// world is a deployment, its operator and a host that wants to be in it.
type world struct {
	admin     ed25519.PrivateKey
	head      *roster.Roster
	envelopes []roster.Envelope
	inviter   Inviter
	joiner    Joiner
	applicant Applicant
	carrier   *rooms

	asked    []Request // of the operator
	admitted []Request
	stored   []roster.Envelope
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newWorld(t *testing.T, driver string) *world {
	t.Helper()
	w := &world{admin: newKey(t), carrier: newRooms()}
	chain := roster.Chain{ID: "practice-1", Daemon: "practiced", Binaries: []roster.Binary{{Platform: "linux/amd64", SHA256: roster.Hash{9}}}}
	w.head = roster.New("demo", []roster.Admin{{
		Name: "operator", Key: roster.KeyOf(w.admin.Public().(ed25519.PublicKey)), Capabilities: roster.AllCapabilities(),
	}}, chain)
	w.head.MeshDriver = driver
	w.sign(t)
	w.applicant = Applicant{
		Request: Request{
			NodeID: strings.Repeat("ab", 20), Hostname: "vps-7.hoster.net", OS: "linux", Arch: "amd64", Endpoint: "8.8.4.4:26656",
		},
		Identity: newKey(t), TLS: newKey(t),
	}
	if driver != "" {
		w.applicant.Request.MeshEndpoint, w.applicant.Request.Relay = "8.8.4.4:51820", "8.8.4.4:443"
	}
	rand.Read(w.applicant.Tunnel[:])
	offer, private, err := NewOffer(w.head, "sentry-3", roster.RoleSentry, "relay.validators.org:9009")
	if err != nil {
		t.Fatal(err)
	}
	w.inviter = Inviter{
		Carrier: w.carrier, Code: code, Offer: offer, Private: private,
		Confirm: func(_ context.Context, r Request) (bool, error) {
			w.asked = append(w.asked, r)
			return true, nil
		},
		Admit: func(_ context.Context, r Request) ([][]byte, error) {
			w.admitted = append(w.admitted, r)
			return w.admit(t, r), nil
		},
	}
	w.joiner = Joiner{
		Carrier: w.carrier, Code: code,
		Apply: func(context.Context, Offer) (Applicant, error) { return w.applicant, nil },
		Store: func(_ context.Context, _ Offer, envelopes []roster.Envelope) error {
			w.stored = envelopes
			return nil
		},
	}
	return w
}

// sign appends the head.
func (w *world) sign(t *testing.T) {
	t.Helper()
	e, err := roster.Sign(w.head, w.admin)
	if err != nil {
		t.Fatal(err)
	}
	w.envelopes = append(w.envelopes, e)
}

// admit admits r and returns the log as it is sent.
func (w *world) admit(t *testing.T, r Request) [][]byte {
	t.Helper()
	w.head = roster.Next(w.head)
	m := r.Member(w.inviter.Offer)
	m.Since = w.head.Generation
	w.head.Members = append(w.head.Members, m)
	w.sign(t)
	return w.lines()
}

func (w *world) lines() (out [][]byte) {
	for _, e := range w.envelopes {
		out = append(out, roster.EncodeEnvelope(e))
	}
	return out
}

// run runs both sides until both have ended.
func (w *world) run(ctx context.Context) (inviteErr, joinErr error) {
	done := make(chan error, 1)
	go func() {
		_, err := w.inviter.Run(ctx)
		done <- err
	}()
	_, joinErr = w.joiner.Run(ctx)
	return <-done, joinErr
}

// check fails if somebody holds for true what is not.
func (w *world) check(t *testing.T, inviteErr, joinErr error) {
	t.Helper()
	if len(w.admitted) > len(w.asked) {
		t.Error("a host was admitted of which the operator was not asked")
	}
	if w.stored != nil && len(w.admitted) == 0 {
		t.Error("the host was told that it is admitted, and is not")
	}
	if inviteErr == nil && len(w.admitted) != 1 {
		t.Error("the inviter succeeded and admitted nobody")
	}
	if (joinErr == nil) != (w.stored != nil) {
		t.Errorf("the host ended with %v and stored %d generations", joinErr, len(w.stored))
	}
	for _, err := range []error{inviteErr, joinErr} {
		if err != nil && (strings.Contains(err.Error(), "alpha") || len(err.Error()) > 1500) {
			t.Errorf("the error tells too much: %v", err)
		}
	}
}

func TestEnrol(t *testing.T) {
	for _, driver := range []string{roster.MeshWireGuard, roster.MeshVpnCloud, ""} {
		t.Run("mesh "+driver, func(t *testing.T) {
			w := newWorld(t, driver)
			inviteErr, joinErr := w.run(t.Context())
			if inviteErr != nil || joinErr != nil {
				t.Fatal(inviteErr, joinErr)
			}
			w.check(t, inviteErr, joinErr)
			log := roster.NewLog(w.inviter.Offer.ID)
			if _, err := log.AddAll(w.stored); err != nil || log.Len() != 2 {
				t.Errorf("stored %d generations, %v", log.Len(), err)
			}
			m, ok := log.State().Head.Member("sentry-3")
			if !ok || m.Identity != roster.KeyOf(w.applicant.Identity.Public().(ed25519.PublicKey)) || m.Role != roster.RoleSentry {
				t.Errorf("member %+v", m)
			}
			if (m.Mesh != roster.Mesh{}) != (driver != "") {
				t.Errorf("mesh %+v", m.Mesh)
			}
			for _, b := range w.carrier.seen[1:] {
				if bytes.Contains(b, []byte("sentry-3")) || bytes.Contains(b, []byte("hoster")) {
					t.Error("a later transfer is not sealed")
				}
			}
		})
	}
}

// The tunnel key that is proven is the one that a tunnel makes of the same private key.
func TestTunnelKey(t *testing.T) {
	w := newWorld(t, roster.MeshWireGuard)
	k, err := ecdh.X25519().NewPrivateKey(w.applicant.Tunnel[:])
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.applicant.request(w.inviter.Offer)
	if err != nil || r.Tunnel != roster.Key(k.PublicKey().Bytes()) {
		t.Errorf("tunnel key %v, %v", r.Tunnel, err)
	}
}

func TestRefused(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"the operator said no": func(w *world) {
			w.inviter.Confirm = func(context.Context, Request) (bool, error) { return false, nil }
		},
		"the operator could not be asked": func(w *world) {
			w.inviter.Confirm = func(context.Context, Request) (bool, error) { return true, errors.New("private words") }
		},
		"the deployment could not be changed": func(w *world) {
			w.inviter.Admit = func(context.Context, Request) ([][]byte, error) { return nil, errors.New("private words") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, roster.MeshWireGuard)
			change(w)
			inviteErr, joinErr := w.run(t.Context())
			w.check(t, inviteErr, joinErr)
			if !errors.Is(inviteErr, ErrRefused) || !errors.Is(joinErr, ErrRefused) || !strings.Contains(joinErr.Error(), name) {
				t.Errorf("inviter: %v; joiner: %v", inviteErr, joinErr)
			}
			if strings.Contains(joinErr.Error(), "private words") {
				t.Errorf("the joiner learns what is not for it: %v", joinErr)
			}
		})
	}
}

func TestWrongCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		w.joiner.Code = "4321-alpha-bravo-delta"
		inviteErr, joinErr := w.run(t.Context())
		w.check(t, inviteErr, joinErr)
		if !errors.Is(inviteErr, ErrSpent) || !errors.Is(joinErr, ErrSpent) {
			t.Errorf("inviter: %v; joiner: %v", inviteErr, joinErr)
		}
		// The right code comes too late.
		w.joiner.Code = code
		if _, err := w.joiner.Run(t.Context()); !errors.Is(err, ErrExpired) {
			t.Errorf("after the code was spent: %v", err)
		}
	})
}

func TestSecondJoiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		inviteErr, joinErr := w.run(t.Context())
		if inviteErr != nil || joinErr != nil {
			t.Fatal(inviteErr, joinErr)
		}
		second := w.joiner
		second.Store = func(context.Context, Offer, []roster.Envelope) error {
			t.Error("a second host stored something")
			return nil
		}
		if _, err := second.Run(t.Context()); !errors.Is(err, ErrExpired) {
			t.Errorf("second joiner: %v", err)
		}
	})
}

// Two hosts that type the same code at the same time: one is served, the other ends.
func TestTwoJoiners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		invited := make(chan error, 1)
		go func() {
			_, err := w.inviter.Run(t.Context())
			invited <- err
		}()
		synctest.Wait()
		joined := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := w.joiner.Run(t.Context())
				joined <- err
			}()
		}
		if err := <-invited; err != nil {
			t.Error(err)
		}
		first, second := <-joined, <-joined
		if (first == nil) == (second == nil) {
			t.Errorf("joiners: %v; %v", first, second)
		}
	})
}

func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		began := time.Now()
		if _, err := w.inviter.Run(t.Context()); !errors.Is(err, ErrExpired) || time.Since(began) != TTL {
			t.Errorf("nobody came: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if _, err := w.joiner.Run(t.Context()); !errors.Is(err, ErrExpired) || time.Since(began) != JoinTime {
			t.Errorf("nobody invites: %v after %v", err, time.Since(began))
		}
	})
}

// An operator who thinks for too long has not confirmed.
func TestConfirmedTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		w.inviter.Confirm = func(context.Context, Request) (bool, error) {
			time.Sleep(TTL + time.Second)
			return true, nil
		}
		inviteErr, joinErr := w.run(t.Context())
		w.check(t, inviteErr, joinErr)
		if len(w.admitted) != 0 || !errors.Is(inviteErr, ErrExpired) || !errors.Is(joinErr, ErrRefused) {
			t.Errorf("inviter: %v; joiner: %v", inviteErr, joinErr)
		}
	})
}

func TestPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		const typing, keys, thinking, publishing, writing = time.Minute, time.Second, 3 * time.Second, 2 * time.Second, 5 * time.Second
		apply, confirm, admit, store := w.joiner.Apply, w.inviter.Confirm, w.inviter.Admit, w.joiner.Store
		w.joiner.Apply = func(ctx context.Context, o Offer) (Applicant, error) {
			time.Sleep(keys)
			return apply(ctx, o)
		}
		w.inviter.Confirm = func(ctx context.Context, r Request) (bool, error) {
			time.Sleep(thinking)
			return confirm(ctx, r)
		}
		w.inviter.Admit = func(ctx context.Context, r Request) ([][]byte, error) {
			time.Sleep(publishing)
			return admit(ctx, r)
		}
		w.joiner.Store = func(ctx context.Context, o Offer, es []roster.Envelope) error {
			time.Sleep(writing)
			return store(ctx, o, es)
		}
		phases := make(chan Phases, 1)
		go func() {
			p, err := w.inviter.Run(t.Context())
			if err != nil {
				t.Error(err)
			}
			phases <- p
		}()
		time.Sleep(typing)
		joiner, err := w.joiner.Run(t.Context())
		if err != nil {
			t.Error(err)
		}
		if want := (Phases{Request: keys, Admission: thinking + publishing, Store: writing}); joiner != want {
			t.Errorf("joiner %+v, want %+v", joiner, want)
		}
		if got, want := <-phases, (Phases{Offer: typing, Request: keys, Confirm: thinking, Admit: publishing}); got != want {
			t.Errorf("inviter %+v, want %+v", got, want)
		}
		if joiner.Total() != keys+thinking+publishing+writing {
			t.Errorf("total %v", joiner.Total())
		}
	})
}

func TestFingerprint(t *testing.T) {
	w := newWorld(t, roster.MeshWireGuard)
	r, err := w.applicant.request(w.inviter.Offer)
	if err != nil {
		t.Fatal(err)
	}
	var shown string
	w.joiner.Asked = func(r Request) { shown = r.Fingerprint() }
	if inviteErr, joinErr := w.run(t.Context()); inviteErr != nil || joinErr != nil {
		t.Fatal(inviteErr, joinErr)
	}
	if got := w.asked[0].Fingerprint(); got != shown || got != r.Fingerprint() || len(got) != 19 {
		t.Errorf("the operator sees %q, the host %q", got, shown)
	}
	if !cmp.Equal(w.asked[0], r) {
		t.Errorf("the operator is asked about %+v, want %+v", w.asked[0], r)
	}
	for _, change := range []func(*Request){
		func(r *Request) { r.Identity[0]++ },
		func(r *Request) { r.Tunnel[0]++ },
		func(r *Request) { r.TLS[0]++ },
		func(r *Request) { r.NodeID = strings.Repeat("cd", 20) },
	} {
		other := r
		change(&other)
		if other.Fingerprint() == r.Fingerprint() {
			t.Errorf("two hosts have one fingerprint")
		}
	}
}
