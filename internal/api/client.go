package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
)

// Client asks one host's agent, or its mesh process. It is safe for concurrent use.
type Client struct {
	host string
	whom string // who answers on the socket
	http *http.Client
}

// Dial returns a client of the agent whose socket is in dir. Nothing is connected until it is asked.
func Dial(host, dir string) *Client { return dial(host, "agent", dir, SocketName) }

// DialMesh returns a client of the mesh process of the host in dir.
func DialMesh(host, dir string) *Client { return dial(host, "mesh process", dir, MeshSocket) }

// DialMeshOf is DialMesh for who trusts nobody but u to be at the other end, and u with no more than u's own rights.
func DialMeshOf(host, dir string, u process.User) *Client {
	return through(host, "mesh process", func(ctx context.Context) (conn net.Conn, err error) {
		err = process.As(u, func() error { conn, err = dialIn(ctx, dir, MeshSocket); return err })
		if err != nil {
			return nil, err
		}
		if uid, err := peerUID(conn.(*net.UnixConn)); err != nil || uid != u.UID {
			return nil, errors.Join(fmt.Errorf("user %d answers on the socket of user %d", uid, u.UID), err, conn.Close())
		}
		return conn, nil
	})
}

// DialThrough returns a client of an agent elsewhere, to whose socket connect leads.
func DialThrough(host string, connect func(context.Context) (net.Conn, error)) *Client {
	return through(host, "agent", connect)
}

func dial(host, whom, dir, name string) *Client {
	return through(host, whom, func(ctx context.Context) (net.Conn, error) { return dialIn(ctx, dir, name) })
}

func through(host, whom string, connect func(context.Context) (net.Conn, error)) *Client {
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx) },
		MaxIdleConnsPerHost: 2,
	}
	return &Client{host: host, whom: whom, http: &http.Client{Transport: transport}}
}

// Pipe copies between a stream and the socket of the agent in dir until either ends.
func Pipe(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	conn, err := dialIn(ctx, dir, SocketName)
	if err != nil {
		return err
	}
	defer conn.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, in)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(out, conn)
		ended <- err
	}()
	return <-ended
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is an agent's refusal.
type Error struct {
	Host string
	Problem
}

// Error says which host refused and why.
func (e *Error) Error() string { return fmt.Sprintf("host %q: %s", e.Host, e.Problem.Error) }

// Unreachable says that nobody answers on a host's socket.
type Unreachable struct {
	Whom string // who should: "agent" or "mesh process"
	Host string
	Err  error
}

// Error names whom, and the host.
func (e *Unreachable) Error() string { return fmt.Sprintf("reach %s of %q: %v", e.Whom, e.Host, e.Err) }

// Unwrap returns the cause.
func (e *Unreachable) Unwrap() error { return e.Err }

// Status asks how the host is.
func (c *Client) Status(ctx context.Context) (HostStatus, error) {
	s, err := ask[HostStatus](ctx, c, http.MethodGet, PathStatus, nil)
	if err == nil && s.Enrolled != nil {
		err = s.Enrolled.check()
	}
	return s, err
}

// Enroll makes the host ready to hold a node and returns the public halves of its keys.
func (c *Client) Enroll(ctx context.Context, r EnrollRequest) (Enrolled, error) {
	e, err := ask[Enrolled](ctx, c, http.MethodPost, PathEnroll, r)
	if err == nil {
		err = e.check()
	}
	return e, err
}

// check says what is no key, of a host that may have been broken into: whoever asked goes on with what it says.
func (e *Enrolled) check() error {
	for name, key := range map[string][]byte{
		"identity": e.Identity, "mesh key": e.MeshKey, "key for relays": e.MeshTLS, "next mesh key": e.NextMeshKey, "consensus key": e.Consensus,
	} {
		if len(key) != ed25519.PublicKeySize && (len(key) != 0 || name == "identity") { // an X25519 key is as long
			return fmt.Errorf("the host says that its %s has %d bytes: it was broken into, or runs another program; look at it by hand", name, len(key))
		}
	}
	return nil
}

// InstallGenesis writes the chain's genesis into the daemon's home.
func (c *Client) InstallGenesis(ctx context.Context, genesis []byte) error {
	_, err := ask[struct{}](ctx, c, http.MethodPut, PathGenesis, genesis)
	return err
}

// Rosters returns every envelope that the host knows, parents first.
func (c *Client) Rosters(ctx context.Context) (RosterReply, error) {
	return ask[RosterReply](ctx, c, http.MethodGet, PathRoster, nil)
}

// Await asks the agent every so often until it answers, for as long as ctx lasts. The error is then the last one.
func (c *Client) Await(ctx context.Context, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		_, err := c.Rosters(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-t.C:
		}
	}
}

// Publish gives the host new roster generations.
func (c *Client) Publish(ctx context.Context, r PublishRequest) (RosterStatus, error) {
	return ask[RosterStatus](ctx, c, http.MethodPut, PathRoster, r)
}

// RotateMesh lets the host bear the mesh key that it will change to, and returns its public halves.
func (c *Client) RotateMesh(ctx context.Context) (Enrolled, error) {
	return ask[Enrolled](ctx, c, http.MethodPost, PathRotate, struct{}{})
}

// Mesh asks the mesh process how its peers are.
func (c *Client) Mesh(ctx context.Context) (MeshStatus, error) {
	return ask[MeshStatus](ctx, c, http.MethodGet, PathMesh, nil)
}

// MeshRosters returns every envelope that the mesh process knows, parents first.
func (c *Client) MeshRosters(ctx context.Context) (RosterReply, error) {
	return ask[RosterReply](ctx, c, http.MethodGet, PathMeshRoster, nil)
}

// TellMesh gives the mesh process rosters, which it takes as evidence.
func (c *Client) TellMesh(ctx context.Context, r PublishRequest) error {
	_, err := ask[struct{}](ctx, c, http.MethodPut, PathMeshRoster, r)
	return err
}

// SetIntent records what a person wants of the host.
func (c *Client) SetIntent(ctx context.Context, i Intent) (Intent, error) {
	return ask[Intent](ctx, c, http.MethodPut, PathIntent, i)
}

// Commit returns the newest commit that the host's node holds.
func (c *Client) Commit(ctx context.Context) (Commit, error) {
	return ask[Commit](ctx, c, http.MethodGet, PathCommit, nil)
}

// Seen returns what the host's node sees of a consensus address (upper-case hex), at a height below the newest.
func (c *Client) Seen(ctx context.Context, address string, height int64) (Seen, error) {
	q := url.Values{"address": {address}, "height": {strconv.FormatInt(height, 10)}}
	return ask[Seen](ctx, c, http.MethodGet, PathSeen+"?"+q.Encode(), nil)
}

// Peers returns whom the host's node knows.
func (c *Client) Peers(ctx context.Context) (PeersReply, error) {
	return ask[PeersReply](ctx, c, http.MethodGet, PathPeers, nil)
}

// RestoreKey brings a consensus key to the host and leaves it disarmed.
func (c *Client) RestoreKey(ctx context.Context, r RestoreRequest) (SigningStatus, error) {
	return ask[SigningStatus](ctx, c, http.MethodPut, PathKey, r)
}

// Arm lets the host's consensus key sign, if the proof holds.
func (c *Client) Arm(ctx context.Context, r ArmRequest) (SigningStatus, error) {
	return ask[SigningStatus](ctx, c, http.MethodPost, PathArm, r)
}

// Lock takes the host's deployment lock for as long as the returned function is not called and this process lives.
// When somebody else holds it the error is an *Error with code "locked" and the holder.
func (c *Client) Lock(ctx context.Context, holder string) (release func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	res, err := c.do(ctx, http.MethodPost, PathLock, LockHolder{Holder: holder})
	if err != nil {
		cancel()
		return nil, err
	}
	// The agent has answered with its header and holds the lock until this body is closed.
	return func() { cancel(); _ = res.Body.Close() }, nil
}

// Logs streams the last lines of one of the host's logs ("node", "supervisor" or "agent"), and what follows when
// asked to.
func (c *Client) Logs(ctx context.Context, log string, lines int, follow bool) (io.ReadCloser, error) {
	q := url.Values{"log": {log}, "lines": {strconv.Itoa(lines)}}
	if follow {
		q.Set("follow", "true")
	}
	res, err := c.do(ctx, http.MethodGet, PathLogs+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// ask sends body and decodes the answer into a T. No text in it does anything to a terminal, whoever answered.
func ask[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var v T
	res, err := c.do(ctx, method, path, body)
	if err != nil {
		return v, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, MaxResponse)).Decode(&v); err != nil {
		return v, fmt.Errorf("read answer of host %q to %s %s: %w", c.host, method, path, err)
	}
	health.PlainAll(&v)
	return v, nil
}

// do sends body as JSON ([]byte as it is) and returns a successful response, or the agent's problem as an *Error.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request to host %q: %w", c.host, err)
		}
		r = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, r)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask %s of %q: %w", c.whom, c.host, ctx.Err())
		}
		return nil, &Unreachable{Whom: c.whom, Host: c.host, Err: err}
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	p := Problem{Code: "internal", Error: res.Status}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&p); err != nil {
		p.Error = fmt.Sprintf("%s (answer unreadable: %v)", res.Status, err)
	}
	health.PlainAll(&p)
	return nil, &Error{Host: c.host, Problem: p}
}
