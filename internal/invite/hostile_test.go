package invite

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pressenter/pressenter/internal/roster"
)

// Whatever is cut or changed on the way, and wherever, nobody is admitted or stores who should not.
func TestChangedOnTheWay(t *testing.T) {
	lengths := map[int]int{}
	w := newWorld(t, roster.MeshWireGuard)
	if inviteErr, joinErr := w.run(t.Context()); inviteErr != nil || joinErr != nil {
		t.Fatal(inviteErr, joinErr)
	}
	for i, b := range w.carrier.seen {
		lengths[i+1] = len(b)
	}
	if len(lengths) != 3 {
		t.Fatalf("%d transfers, want 3", len(lengths))
	}
	truncated(t, w)
	for which, length := range lengths {
		for at := 0; at < length; at += 41 {
			for how, change := range map[string]func([]byte) ([]byte, error){
				"cut":     func(b []byte) ([]byte, error) { return b[:min(at, len(b))], nil },
				"changed": func(b []byte) ([]byte, error) { b[min(at, len(b)-1)] ^= 1; return b, nil },
				"broken":  func([]byte) ([]byte, error) { return nil, errCut },
			} {
				if how == "broken" && at > 0 {
					continue
				}
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, roster.MeshWireGuard)
					w.carrier.change = func(n int, b []byte) ([]byte, error) {
						if n == which {
							return change(b)
						}
						return b, nil
					}
					inviteErr, joinErr := w.run(t.Context())
					w.check(t, inviteErr, joinErr)
					if joinErr == nil {
						t.Errorf("transfer %d %s at %d: the host joined", which, how, at)
					}
					if which < 3 && len(w.admitted) > 0 {
						t.Errorf("transfer %d %s at %d: the host was admitted", which, how, at)
					}
				})
			}
		}
	}
}

// truncated cuts what went through w at every byte, without the rest of the exchange.
func truncated(t *testing.T, w *world) {
	t.Helper()
	offer, request, answer := w.carrier.seen[0], w.carrier.seen[1], w.carrier.seen[2]
	s := newSession(w.inviter.Offer, offer)
	for n := range offer {
		if _, err := decodeOffer(offer[:n]); err == nil {
			t.Errorf("an offer of %d bytes out of %d is one", n, len(offer))
		}
	}
	for n := range request {
		if _, err := s.open(labelRequestKey, request[:n], s.offer); err == nil {
			t.Errorf("a request of %d bytes out of %d is one", n, len(request))
		}
	}
	plain, err := s.open(labelRequestKey, request, s.offer)
	if err != nil {
		t.Fatal(err)
	}
	heard := s.heard(plain)
	for n := range answer {
		if _, err := s.open(labelAdmissionKey, answer[:n], heard); err == nil {
			t.Errorf("an answer of %d bytes out of %d is one", n, len(answer))
		}
	}
}

// Killed between any two steps, neither side believes what is not so; and after another invite with the same keys, the
// host is in.
func TestKilledBetweenSteps(t *testing.T) {
	steps := []string{"offer", "apply", "request", "asked", "confirm", "admit", "admitted", "answer", "store"}
	for _, side := range []string{"inviter", "joiner"} {
		for _, step := range steps {
			t.Run(side+" at "+step, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { killed(t, side, step) })
			})
		}
	}
}

func killed(t *testing.T, side, step string) {
	w := newWorld(t, roster.MeshWireGuard)
	contexts := map[string]context.Context{}
	kills := map[string]context.CancelFunc{}
	for _, s := range []string{"inviter", "joiner"} {
		contexts[s], kills[s] = context.WithCancel(t.Context())
		defer kills[s]()
	}
	at := func(s string) {
		if s == step {
			kills[side]()
			synctest.Wait()
		}
	}
	apply, confirm, admit, store := w.joiner.Apply, w.inviter.Confirm, w.inviter.Admit, w.joiner.Store
	w.joiner.Apply = func(ctx context.Context, o Offer) (Applicant, error) {
		at("apply")
		return apply(ctx, o)
	}
	w.joiner.Asked = func(Request) { at("asked") }
	w.inviter.Confirm = func(ctx context.Context, r Request) (bool, error) {
		at("confirm")
		return confirm(ctx, r)
	}
	w.inviter.Admit = func(ctx context.Context, r Request) ([][]byte, error) {
		if at("admit"); ctx.Err() != nil {
			return nil, ctx.Err() // nothing can be published any more
		}
		defer at("admitted")
		return admit(ctx, r)
	}
	w.joiner.Store = func(ctx context.Context, o Offer, es []roster.Envelope) error {
		if at("store"); ctx.Err() != nil {
			return ctx.Err()
		}
		return store(ctx, o, es)
	}
	w.carrier.change = func(n int, b []byte) ([]byte, error) {
		if s := []string{"offer", "request", "answer"}[n-1]; s == step {
			kills[side]()
			return nil, errCut
		}
		return b, nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.inviter.Run(contexts["inviter"])
		done <- err
	}()
	_, joinErr := w.joiner.Run(contexts["joiner"])
	inviteErr := <-done
	w.check(t, inviteErr, joinErr)
	if side == "inviter" && step == "store" {
		if joinErr != nil { // it had done its part
			t.Error(joinErr)
		}
		return
	}
	if joinErr == nil {
		t.Fatal("nothing was killed")
	}
	if len(w.admitted) > 0 && inviteErr != nil && !errors.Is(inviteErr, ErrUntold) {
		t.Errorf("the host was admitted, and the inviter does not say that it may be: %v", inviteErr)
	}

	again := newWorld(t, roster.MeshWireGuard)
	again.admin, again.head, again.envelopes, again.applicant = w.admin, w.head, w.envelopes, w.applicant
	offer, private, err := NewOffer(w.head, "sentry-3", roster.RoleSentry, "")
	if err != nil {
		t.Fatal(err)
	}
	again.inviter.Offer, again.inviter.Private = offer, private
	again.inviter.Admit = func(_ context.Context, r Request) ([][]byte, error) {
		again.admitted = append(again.admitted, r)
		if m, ok := again.head.MemberByIdentity(r.Identity); ok && m.NodeID == r.NodeID {
			return again.lines(), nil // as it must: it is a member already
		}
		return again.admit(t, r), nil
	}
	if inviteErr, joinErr := again.run(t.Context()); inviteErr != nil || joinErr != nil {
		t.Errorf("the next invite: %v; %v", inviteErr, joinErr)
	}
}

// verified runs a request through the inviter's checks after change has had its way.
func verified(t *testing.T, w *world, change func(q *signedRequest)) error {
	t.Helper()
	b, err := w.inviter.Offer.encode()
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(w.inviter.Offer, b)
	_, sent, err := s.prove(w.inviter.Offer, w.applicant)
	if err != nil {
		t.Fatal(err)
	}
	var q signedRequest
	if err := decodeStrict(sent, MaxRequest, &q); err != nil {
		t.Fatal(err)
	}
	change(&q)
	if sent, err = json.Marshal(q); err != nil {
		t.Fatal(err)
	}
	_, err = s.verify(w.inviter.Offer, w.inviter.Private, sent)
	return err
}

func TestForgedRequests(t *testing.T) {
	other := newKey(t)
	otherKey := roster.KeyOf(other.Public().(ed25519.PublicKey))
	for _, driver := range []string{roster.MeshWireGuard, roster.MeshVpnCloud} {
		w := newWorld(t, driver)
		if err := verified(t, w, func(*signedRequest) {}); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]func(q *signedRequest){
			"another identity":   func(q *signedRequest) { q.Request.Identity = otherKey },
			"another relay key":  func(q *signedRequest) { q.Request.TLS = otherKey },
			"another tunnel key": func(q *signedRequest) { q.Request.Tunnel = w.otherTunnel(t) },
			"another node":       func(q *signedRequest) { q.Request.NodeID = strings.Repeat("cd", 20) },
			"another address":    func(q *signedRequest) { q.Request.Endpoint = "8.8.8.8:26656" },
			"another tunnel":     func(q *signedRequest) { q.Request.MeshEndpoint = "8.8.8.8:51820" },
			"no relay":           func(q *signedRequest) { q.Request.Relay = "" },
			"another platform":   func(q *signedRequest) { q.Request.OS = "darwin" },
			"no identity proof":  func(q *signedRequest) { q.Identity = nil },
			"no relay key proof": func(q *signedRequest) { q.TLS = nil },
			"no tunnel proof":    func(q *signedRequest) { q.Tunnel = nil },
			"proofs exchanged":   func(q *signedRequest) { q.Identity, q.TLS = q.TLS, q.Identity },
			"a short MAC":        func(q *signedRequest) { q.Tunnel = q.Tunnel[:16] },
			"a tunnel key of low order": func(q *signedRequest) {
				q.Request.Tunnel = roster.Key{1} // agrees with everybody on zero
			},
			"an identity of low order": func(q *signedRequest) {
				q.Request.Identity = roster.Key{1} // anybody signs for it
				q.Identity = append([]byte{1}, make([]byte, 63)...)
			},
		} {
			if err := verified(t, w, change); !errors.Is(err, ErrForged) {
				t.Errorf("%s, %s: %v", driver, name, err)
			}
		}
	}
}

// otherTunnel returns a tunnel key that is not the applicant's.
func (w *world) otherTunnel(t *testing.T) roster.Key {
	t.Helper()
	a := w.applicant
	a.Tunnel[0] ^= 8
	r, err := a.request(w.inviter.Offer)
	if err != nil {
		t.Fatal(err)
	}
	return r.Tunnel
}

// A request of one invite is none of another.
func TestReplay(t *testing.T) {
	first := newWorld(t, roster.MeshWireGuard)
	if inviteErr, joinErr := first.run(t.Context()); inviteErr != nil || joinErr != nil {
		t.Fatal(inviteErr, joinErr)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		w.carrier.change = func(n int, b []byte) ([]byte, error) {
			if n == 2 {
				return first.carrier.seen[1], nil
			}
			return b, nil
		}
		inviteErr, joinErr := w.run(t.Context())
		w.check(t, inviteErr, joinErr)
		if !errors.Is(inviteErr, ErrForged) || len(w.asked) > 0 {
			t.Errorf("a replayed request: %v", inviteErr)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, roster.MeshWireGuard)
		w.carrier.change = func(n int, b []byte) ([]byte, error) {
			if n == 3 {
				return first.carrier.seen[2], nil
			}
			return b, nil
		}
		inviteErr, joinErr := w.run(t.Context())
		w.check(t, inviteErr, joinErr)
		if !errors.Is(joinErr, ErrForged) {
			t.Errorf("a replayed answer: %v", joinErr)
		}
	})
	// Proofs, too, are for one offer: who is invited twice cannot be played against himself.
	w := newWorld(t, roster.MeshWireGuard)
	b, _ := first.inviter.Offer.encode()
	_, sent, err := newSession(first.inviter.Offer, b).prove(first.inviter.Offer, first.applicant)
	if err != nil {
		t.Fatal(err)
	}
	b, _ = w.inviter.Offer.encode()
	if _, err := newSession(w.inviter.Offer, b).verify(w.inviter.Offer, w.inviter.Private, sent); !errors.Is(err, ErrForged) {
		t.Errorf("proofs of another offer: %v", err)
	}
}

// Every point of low order and every second spelling of a point is told from keys.
func TestLowOrder(t *testing.T) {
	for _, s := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 0 again
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // 1 again
	} {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		if !lowOrder(roster.Key(b)) {
			t.Errorf("%s is taken for a key", s)
		}
	}
	for range 50 {
		if k := newKey(t); lowOrder(roster.KeyOf(k.Public().(ed25519.PublicKey))) {
			t.Errorf("a good key is refused: %x", k)
		}
	}
}

func TestOffers(t *testing.T) {
	w := newWorld(t, roster.MeshWireGuard)
	for name, c := range map[string]struct {
		host string
		role roster.Role
		want string
	}{
		"a validator":         {"v", roster.RoleValidator, "added to the config and made by apply"},
		"another role":        {"v", roster.RoleGenesisValidator, "only \"sentry\" is"},
		"a name that is none": {"Sentry 3", roster.RoleSentry, "member name"},
	} {
		if _, _, err := NewOffer(w.head, c.host, c.role, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good, err := w.inviter.Offer.encode()
	if err != nil {
		t.Fatal(err)
	}
	if o, err := decodeOffer(good); err != nil || fmt.Sprint(o) != fmt.Sprint(w.inviter.Offer) {
		t.Errorf("offer %v, %v", o, err)
	}
	replace := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"newer":          {replace(`"version":1`, `"version":2`), "update the older"},
		"no version":     {replace(`"version":1,`, ``), "form"},
		"unknown field":  {replace(`"version":1`, `"version":1,"x":1`), "not what"},
		"repeated field": {replace(`"version":1`, `"version":1,"version":1`), "form"},
		"spaces":         {replace(`,`, ` ,`), "form"},
		"two":            {append(bytes.Clone(good), good...), "form"},
		"too long":       {append(bytes.Clone(good), make([]byte, MaxOffer)...), "more than"},
		"a validator":    {replace(`"sentry"`, `"validator"`), "apply"},
		"escape":         {replace(`"demo"`, `"d\u001b"`), "deployment name"},
		"chain":          {replace(`practice-1`, `../x`), "chain id"},
		"relay":          {replace(`:9009`, ``), "relay"},
		"no secret":      {replace(hex.EncodeToString(w.inviter.Offer.Secret[:]), strings.Repeat("0", 64)), "missing"},
		"no key":         {replace(w.inviter.Offer.Ephemeral.String(), strings.Repeat("0", 64)), "missing"},
	} {
		if _, err := decodeOffer(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", w.inviter.Offer, w.inviter.Offer, w.inviter.Offer.Secret, w.inviter.Offer.Secret); strings.Contains(s, hex.EncodeToString(w.inviter.Offer.Secret[:4])) {
		t.Errorf("the secret is printed: %s", s)
	}
}

func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		change func(a *Applicant)
		want   string
	}{
		"no node id":            {func(a *Applicant) { a.Request.NodeID = "" }, "node id"},
		"a node id in capitals": {func(a *Applicant) { a.Request.NodeID = strings.Repeat("AB", 20) }, "node id"},
		"a host name to print":  {func(a *Applicant) { a.Request.Hostname = "\x1b[2J" }, "host name"},
		"no platform":           {func(a *Applicant) { a.Request.OS = "" }, "platform"},
		"no address":            {func(a *Applicant) { a.Request.Endpoint = "" }, "public address"},
		"no tunnel":             {func(a *Applicant) { a.Request.MeshEndpoint = "" }, "public address"},
		"an odd address":        {func(a *Applicant) { a.Request.Endpoint = "127.1:1" }, "endpoint"},
		"one key twice":         {func(a *Applicant) { a.TLS = a.Identity }, "the same"},
		"no key":                {func(a *Applicant) { a.Identity = nil }, "missing"},
	} {
		w := newWorld(t, roster.MeshWireGuard)
		c.change(&w.applicant)
		if _, err := w.applicant.request(w.inviter.Offer); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAdmissions(t *testing.T) {
	for name, change := range map[string]func(w *world, r *Request) [][]byte{
		"not the host":      func(w *world, _ *Request) [][]byte { return w.lines() },
		"another address":   func(w *world, r *Request) [][]byte { r.Endpoint = "8.8.8.8:1"; return w.admit(t, *r) },
		"another relay key": func(w *world, r *Request) [][]byte { r.TLS[0]++; return w.admit(t, *r) },
		"another name": func(w *world, r *Request) [][]byte {
			w.inviter.Offer.Host = "sentry-4"
			return w.admit(t, *r)
		},
		"no generation 1": func(w *world, r *Request) [][]byte { return w.admit(t, *r)[1:] },
		"nothing":         func(*world, *Request) [][]byte { return nil },
		"no envelope":     func(*world, *Request) [][]byte { return [][]byte{[]byte("{}\n")} },
		"another deployment": func(_ *world, r *Request) [][]byte {
			return newWorld(t, roster.MeshWireGuard).admit(t, *r)
		},
		"signed by another": func(w *world, r *Request) [][]byte {
			w.admin = newKey(t)
			return w.admit(t, *r)
		},
		"a fork": func(w *world, r *Request) [][]byte {
			base := w.head
			w.admit(t, *r)
			w.head = base
			r.Hostname = "x"
			w.head = roster.Next(w.head)
			w.head.Peers = []string{strings.Repeat("cd", 20) + "@8.8.8.8:1"}
			w.sign(t)
			return w.lines()
		},
		"removed again": func(w *world, r *Request) [][]byte {
			w.admit(t, *r)
			w.head = roster.Next(w.head)
			w.head.Remove("sentry-3")
			w.sign(t)
			return w.lines()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, roster.MeshWireGuard)
			w.inviter.Admit = func(_ context.Context, r Request) ([][]byte, error) {
				w.admitted = append(w.admitted, r)
				return change(w, &r), nil
			}
			inviteErr, joinErr := w.run(t.Context())
			w.check(t, inviteErr, joinErr)
			if joinErr == nil {
				t.Error("the host joined")
			}
			if strings.Contains(name, "another") && !errors.Is(joinErr, ErrNotThere) {
				t.Errorf("joiner: %v", joinErr)
			}
		})
	}
}

func TestAdmissionTooLarge(t *testing.T) {
	line := append(bytes.Repeat([]byte("x"), MaxAdmission/2), '\n')
	if _, err := encodeAdmission([][]byte{line, line}); err == nil || !strings.Contains(err.Error(), "2 generations") {
		t.Errorf("two generations of half the limit: %v", err)
	}
}

func FuzzOffer(f *testing.F) {
	o := Offer{Version: 1, Deployment: "d", ID: roster.Hash{1}, Host: "h", Role: roster.RoleSentry, ChainID: "c", Ephemeral: roster.Key{9}, Secret: Secret{1}}
	b, err := o.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOffer(b)
		if err != nil {
			return
		}
		if again, err := o.encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is read and written as %q, %v", b, again, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	private, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		f.Fatal(err)
	}
	o := Offer{
		Version: 1, Deployment: "d", ID: roster.Hash{1}, Host: "h", Role: roster.RoleSentry, ChainID: "c",
		MeshDriver: roster.MeshWireGuard, Ephemeral: roster.Key(private.PublicKey().Bytes()), Secret: Secret{1},
	}
	b, err := o.encode()
	if err != nil {
		f.Fatal(err)
	}
	s := newSession(o, b)
	seed := func(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }
	_, sent, err := s.prove(o, Applicant{
		Request: Request{
			NodeID: strings.Repeat("ab", 20), OS: "linux", Arch: "amd64", Endpoint: "8.8.4.4:26656", MeshEndpoint: "8.8.4.4:1",
		},
		Identity: seed(1), TLS: seed(2), Tunnel: [32]byte{3},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sent)
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := s.verify(o, private, b); err == nil && !bytes.Equal(b, sent) {
			t.Errorf("a request that nobody made: %+v", r)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(encodeRefusal("no"))
	f.Add([]byte(`{"version":1,"envelopes":1}` + "\n" + `{"format":1,"payload":"e30=","signatures":[]}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		envelopes, err := decodeAnswer(b)
		if err != nil {
			return
		}
		var lines [][]byte
		for _, e := range envelopes {
			lines = append(lines, roster.EncodeEnvelope(e))
		}
		if again, err := encodeAdmission(lines); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is read and written as %q, %v", b, again, err)
		}
	})
}

func FuzzLowOrder(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 32 {
			return
		}
		// A signature that holds for every message: R is the neutral point, S is 0 and the key multiplies to nothing.
		sig := append([]byte{1}, make([]byte, 63)...)
		all := true
		for i := range 40 {
			all = all && ed25519.Verify(b, []byte{byte(i)}, sig)
		}
		if all && !lowOrder(roster.Key(b)) {
			t.Errorf("anybody signs for %x", b)
		}
	})
}
