package ssh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Client is a connection to a server, on which many commands can run at once. It notices by itself when the server is
// gone, and then everything on it fails.
type Client struct {
	chain  []*ssh.Client // the bastions and the server, in the order of the way
	hop    hop
	limits Limits
	slots  *slots

	stop func()
	lost chan struct{} // closed once the connection is
	mu   sync.Mutex
	why  error // why it is lost

	ending   sync.Mutex // held while the session that is left free is used
	sudoOnce sync.Mutex
	sudo     *Privilege
}

func newClient(chain []*ssh.Client, h hop, limits Limits) *Client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Client{chain: chain, hop: h, limits: limits, slots: newSlots(maxSessions - 1), stop: cancel, lost: make(chan struct{})}
	go c.watch(ctx)
	return c
}

func (c *Client) ssh() *ssh.Client { return c.chain[len(c.chain)-1] }

// Host is user@address:port, as errors name it.
func (c *Client) Host() string { return c.hop.String() }

// User is who is logged in.
func (c *Client) User() string { return c.hop.user }

// Close ends the connection and all that runs on it.
func (c *Client) Close() error {
	c.end(errors.New("the connection is closed"))
	<-c.lost
	return nil
}

// Lost is closed when the connection is.
func (c *Client) Lost() <-chan struct{} { return c.lost }

func (c *Client) end(why error) {
	c.mu.Lock()
	if c.why == nil {
		c.why = why
	}
	c.mu.Unlock()
	c.stop()
	closeAll(c.chain)
}

// watch asks the server whether it is there, until the connection ends. A request that is not answered ends it: TCP alone
// would wait for a quarter of an hour.
func (c *Client) watch(ctx context.Context) {
	gone := make(chan error, 1)
	go func() { gone <- c.ssh().Wait() }()
	answered := make(chan error, 1)
	every := time.NewTicker(c.limits.Silence * 2 / 5)
	defer every.Stop()
	asked := time.Time{}
	for {
		select {
		case err := <-gone:
			c.end(fmt.Errorf("the server ended the connection: %w", err))
			close(c.lost)
			return
		case <-ctx.Done():
			ctx = context.Background() // gone follows
		case <-answered:
			asked = time.Time{}
		case now := <-every.C:
			if asked.IsZero() {
				asked = now
				go func() {
					_, _, err := c.ssh().SendRequest("keepalive@openssh.com", true, nil)
					answered <- err
				}()
			} else if now.Sub(asked) >= c.limits.Silence*3/5 {
				c.end(fmt.Errorf("the connection is dead: no answer within %s", c.limits.Silence))
			}
		}
	}
}

// failure explains an error on this connection: if that is lost, this is why.
func (c *Client) failure(err error) error {
	c.mu.Lock()
	why := c.why
	c.mu.Unlock()
	if why == nil {
		// A session hears of the end a moment before the one that watches the connection.
		var missing *ssh.ExitMissingError
		if errors.As(err, &missing) || cut(err) {
			select {
			case <-c.lost:
				return c.failure(err)
			case <-time.After(time.Second):
			}
		}
		return &Error{Step: StepSession, Host: c.Host(), Err: err}
	}
	return &Error{
		Step: StepSession, Host: c.Host(), Err: why, again: true,
		hint: "was the server restarted, or the network lost? The same can be done again",
	}
}

// open begins a session. OpenSSH lets so many at a time on one connection (MaxSessions) unless told otherwise; others wait.
func (c *Client) open(ctx context.Context) (*ssh.Session, func(), error) {
	for {
		if err := c.slots.take(ctx); err != nil {
			return nil, nil, fmt.Errorf("wait for one of the sessions on %s: %w", c.Host(), err)
		}
		s, err := c.session(ctx)
		if err == nil {
			return s, sync.OnceFunc(func() {
				s.Close()
				c.slots.release()
			}), nil
		}
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) && c.slots.shrink() {
			continue // the server lets fewer
		}
		c.slots.release()
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("open a session on %s: %w", c.Host(), context.Cause(ctx))
		}
		e := &Error{Step: StepSession, Host: c.Host(), Err: fmt.Errorf("open a session: %w", err)}
		switch {
		case refused != nil:
			e.hint = "the server lets this user run nothing: look at MaxSessions in sshd_config and at the user's entry there"
		case timedOut(err):
			e.Err = fmt.Errorf("it opened no session within %s", c.limits.Session)
			e.hint = "the server may be overloaded, or its disk or a network file system hangs"
		default:
			return nil, nil, c.failure(err)
		}
		return nil, nil, e
	}
}

// session opens one. The server may not have noticed yet that another one ended, so a refusal is tried again, shortly.
func (c *Client) session(ctx context.Context) (*ssh.Session, error) {
	for wait := 25 * time.Millisecond; ; wait *= 2 {
		s, err := within(ctx, c.limits.Session, c.ssh().NewSession)
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || wait > 200*time.Millisecond {
			return s, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// within calls f and gives up on it after a time. What f makes afterwards is closed.
func within(ctx context.Context, limit time.Duration, f func() (*ssh.Session, error)) (*ssh.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	type result struct {
		s   *ssh.Session
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := f()
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		return r.s, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil && r.s != nil {
				r.s.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// maxSessions is OpenSSH's MaxSessions. One is left free, to end commands that go on.
const maxSessions = 10

// slots count the sessions of a connection.
type slots struct {
	mu          sync.Mutex
	limit, used int
	freed       chan struct{} // closed at each change
}

func newSlots(limit int) *slots { return &slots{limit: limit, freed: make(chan struct{})} }

func (s *slots) take(ctx context.Context) error {
	for {
		s.mu.Lock()
		free, freed := s.used < s.limit, s.freed
		if free {
			s.used++
		}
		s.mu.Unlock()
		if free {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	close(s.freed)
	s.freed = make(chan struct{})
}

// shrink gives back a slot that the server refused, and lowers the limit to what it let. It is false, and gives back
// nothing, if the server lets none at all.
func (s *slots) shrink() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used <= 1 {
		return false
	}
	s.used--
	s.limit = min(s.limit, s.used)
	close(s.freed)
	s.freed = make(chan struct{})
	return true
}
