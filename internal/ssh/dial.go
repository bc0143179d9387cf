package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Event is something that happens on the way to a server.
type Event struct {
	Target  Target
	Attempt int
	Step    Step   // that begins, or that failed
	Host    string // where; a bastion on the way or the server
	Err     error  // why this attempt failed; nil for a step that begins
	Wait    time.Duration
}

// String is the event as a line for a person.
func (e Event) String() string {
	if e.Err != nil {
		return fmt.Sprintf("attempt %d: %v; next in %s", e.Attempt, e.Err, e.Wait.Round(100*time.Millisecond))
	}
	return fmt.Sprintf("%s %s", doing[e.Step], e.Host)
}

// Dial logs in. It tries again for the time of Patience while the host cannot be reached; what a host refuses is not
// tried again. It ends with ctx at once.
func (d *Dialer) Dial(ctx context.Context, t Target) (*Client, error) {
	way, err := d.route(t)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	for attempt := 1; ; attempt++ {
		c, err := d.attempt(ctx, way, attempt)
		var e *Error
		if err == nil || ctx.Err() != nil || !errors.As(err, &e) || !e.Temporary() {
			return c, err
		}
		wait := pause(d.backoff, attempt, rand.Float64())
		if time.Since(begun)+wait > d.Patience {
			if attempt > 1 {
				e.Err = fmt.Errorf("%w (tried %d times in %s)", e.Err, attempt, time.Since(begun).Round(time.Second))
			}
			return nil, err
		}
		d.tell(Event{Target: t, Attempt: attempt, Step: e.Step, Host: e.Host, Err: err, Wait: wait})
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; %w", err, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// pause grows from one second to fifteen and is up to a quarter shorter or longer by chance, so that many hosts are not
// asked in step.
func pause(base time.Duration, attempt int, chance float64) time.Duration {
	if base == 0 {
		base = time.Second
	}
	p := min(base<<min(attempt-1, 10), 15*base)
	return time.Duration(float64(p) * (0.75 + chance/2))
}

// attempt goes the way once.
func (d *Dialer) attempt(ctx context.Context, way []hop, n int) (*Client, error) {
	limits := d.Limits.withDefaults()
	var clients []*ssh.Client
	for _, h := range way {
		l := &login{Dialer: d, hop: h, limits: limits, target: way[len(way)-1].target, attempt: n}
		if len(clients) > 0 {
			l.via = clients[len(clients)-1]
		}
		c, err := l.run(ctx)
		if err != nil {
			closeAll(clients)
			return nil, err
		}
		clients = append(clients, c)
	}
	return newClient(clients, way[len(way)-1], limits), nil
}

func closeAll(clients []*ssh.Client) {
	for _, c := range slices.Backward(clients) {
		c.Close()
	}
}

// login is one login to one server.
type login struct {
	*Dialer
	hop     hop
	via     *ssh.Client
	limits  Limits
	target  Target
	attempt int

	mu      sync.Mutex
	step    Step
	limit   time.Duration
	timer   *time.Timer
	expired bool
	close   func()

	keys   *keys
	auth   AuthError
	signed bool
	lost   error // why the connection ended, if that was not our doing
	over   bool  // the login, by our doing
}

func (l *login) run(ctx context.Context) (*ssh.Client, error) {
	l.enter(StepConnect)
	conn, err := l.connect(ctx)
	if err != nil {
		return nil, explain(l.hop, StepConnect, l.limits.Connect, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.keys = l.Dialer.keys(ctx, l.hop)
	l.close = sync.OnceFunc(func() {
		conn.Close()
		l.keys.close()
	})
	l.enter(StepVersion)
	type result struct {
		client *ssh.Client
		err    error
	}
	done := make(chan result, 1)
	go func() { // a person who is asked, or an agent, may not notice that ctx ended
		client, err := l.handshake(ctx, conn)
		done <- result{client, err}
	}()
	select {
	case r := <-done:
		defer l.keys.close()
		l.leave()
		if r.err != nil {
			l.close()
			return nil, l.explain(ctx, r.err)
		}
		return r.client, nil
	case <-ctx.Done():
		l.leave()
		l.close()
		return nil, l.explain(ctx, context.Cause(ctx))
	}
}

func (l *login) connect(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.limits.Connect)
	defer cancel()
	if l.via != nil {
		return l.via.DialContext(ctx, l.hop.network, l.hop.address())
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, l.hop.network, l.hop.address())
}

// enter begins a step and its time.
func (l *login) enter(s Step) {
	l.tell(Event{Target: l.target, Attempt: l.attempt, Step: s, Host: l.hop.String()})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = s
	l.limit = map[Step]time.Duration{
		StepVersion: l.limits.Version, StepKeyExchange: l.limits.KeyExchange, StepAuthenticate: l.limits.Authenticate,
	}[s]
	l.restart()
}

// restart gives the step its whole time; the caller holds mu.
func (l *login) restart() {
	if l.timer != nil {
		l.timer.Stop()
	}
	if l.limit == 0 {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(l.limit, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timer == t {
			l.expired = true
			l.close()
		}
	})
	l.timer = t
}

// leave ends the last step.
func (l *login) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// asking stops the clock while a person is asked.
func (l *login) asking(f func() error) error {
	l.leave()
	err := f()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restart()
	return err
}

func (l *login) handshake(ctx context.Context, conn net.Conn) (*ssh.Client, error) {
	pinned, err := l.allKnown(l.hop)
	if err != nil {
		return nil, err
	}
	config := &ssh.ClientConfig{
		User:              l.hop.user,
		ClientVersion:     "SSH-2.0-pressenter",
		HostKeyAlgorithms: hostKeyAlgorithms(pinned),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			l.enter(StepHostKey)
			if err := l.asking(func() error { return l.verify(ctx, l.hop, key) }); err != nil {
				return err
			}
			l.enter(StepAuthenticate)
			return nil
		},
		AuthCallback: l.next,
		BannerCallback: func(text string) error {
			l.auth.Banner = strings.TrimSpace(printable(text, 300))
			return nil
		},
	}
	c, channels, requests, err := ssh.NewClientConn(&greeting{Conn: conn, login: l}, l.hop.address(), config)
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

var errNoMoreKeys = errors.New("no more keys")

// next offers the next key, one at a time, and so knows which were refused and what the server would take.
func (l *login) next(state *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.auth.Accepts = state.AllowedMethods
	if len(state.PartialSuccessMethods) > 0 {
		l.auth.Second = true
		return nil, l.giveUp()
	}
	if err := l.gone(); err != nil {
		return nil, err
	}
	if l.auth.Err != nil || l.signed || !slices.Contains(state.AllowedMethods, "publickey") || len(l.keys.identities) == 0 {
		return nil, l.giveUp()
	}
	id := l.keys.identities[0]
	l.keys.identities = l.keys.identities[1:]
	l.auth.Offered = append(l.auth.Offered, id.String())
	return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		return []ssh.Signer{&noted{Signer: id.signer, login: l, name: id.String()}}, nil
	}), nil
}

// note keeps why the connection ended: what reads the handshake goes on with the next key instead.
func (l *login) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.lost = err
	}
}

// giveUp says that what the connection ends of from here is our own doing.
func (l *login) giveUp() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	return errNoMoreKeys
}

func (l *login) gone() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// explain says why the handshake failed.
func (l *login) explain(ctx context.Context, err error) error {
	l.mu.Lock()
	step, limit, expired := l.step, l.limit, l.expired
	l.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case expired:
		err = context.DeadlineExceeded
	case step == StepAuthenticate:
		if lost := l.gone(); lost != nil && l.auth.Err == nil && !strings.Contains(err.Error(), "disconnect") {
			err = fmt.Errorf("it closed the connection during the login: %w", lost)
		}
		auth := l.auth
		auth.User, auth.Troubles = l.hop.user, l.keys.troubles
		if auth.Err == nil && !errors.Is(err, errNoMoreKeys) {
			auth.Err = unwrapHandshake(err)
		}
		err = &auth
	default:
		err = unwrapHandshake(err)
	}
	return explain(l.hop, step, limit, err)
}

// unwrapHandshake takes off words that say nothing.
func unwrapHandshake(err error) error {
	if strings.HasPrefix(err.Error(), "ssh: handshake failed: ") {
		if inner := errors.Unwrap(err); inner != nil {
			return inner
		}
	}
	return err
}

// noted is a key that notes that the server wants a signature of it, and why there is none.
type noted struct {
	ssh.Signer
	login *login
	name  string
}

func (n *noted) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (signature *ssh.Signature, err error) {
	as, ok := n.Signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("the key %s cannot sign with %s", n.name, algorithm)
	}
	sign := func() error {
		signature, err = as.SignWithAlgorithm(random, data, algorithm)
		return err
	}
	if _, locked := n.Signer.(*lockedKey); locked {
		err = n.login.asking(sign)
	} else {
		err = sign()
	}
	n.login.signed, n.login.auth.Accepted = true, n.name
	if err != nil {
		n.login.auth.Err = err
	}
	return signature, err
}

// greeting watches what the server says first.
type greeting struct {
	net.Conn
	login *login
	said  []byte
	over  bool
}

func (g *greeting) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if err != nil {
		g.login.note(err)
	}
	if g.over {
		return n, err
	}
	g.said = append(g.said, p[:n]...)
	switch {
	case bytes.HasPrefix(g.said, []byte("SSH-")) || bytes.Contains(g.said, []byte("\nSSH-")):
		if i := bytes.Index(g.said, []byte("SSH-")); bytes.IndexByte(g.said[i:], '\n') >= 0 {
			g.over = true
			g.login.enter(StepKeyExchange)
		}
	case err != nil && len(g.said) > 0 || len(g.said) > 512:
		return 0, &notSSHError{printable(string(g.said), 60)}
	}
	return n, err
}

// printable cuts what a stranger says to what a terminal can show.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
