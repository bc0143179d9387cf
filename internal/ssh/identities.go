package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// identity is a key to log in with.
type identity struct {
	signer ssh.Signer
	from   string // "file …" or "agent …"
}

func (i identity) String() string {
	return fmt.Sprintf("%s (%s)", fingerprint(i.signer.PublicKey()), i.from)
}

// keys are the identities for one login, in the order in which they are offered, and what was wrong with others.
type keys struct {
	identities []identity
	troubles   []string
	agent      net.Conn
}

func (k *keys) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

// keys gathers identities as ssh does: named files that the agent holds, the agent's others, then files.
func (d *Dialer) keys(ctx context.Context, h hop) *keys {
	k := &keys{}
	if h.noAgent {
		k.troubles = append(k.troubles, "no SSH agent is running (SSH_AUTH_SOCK is not set)")
	}
	held := k.fromAgent(ctx, h.agent, d.Limits.withDefaults().Agent)
	var files []identity
	for _, path := range h.identityFiles {
		id, err := d.fromFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) && !h.named {
			continue
		}
		if err != nil {
			k.troubles = append(k.troubles, err.Error())
			continue
		}
		files = append(files, id)
	}
	same := func(a identity) func(identity) bool {
		return func(b identity) bool {
			return bytes.Equal(a.signer.PublicKey().Marshal(), b.signer.PublicKey().Marshal())
		}
	}
	var first, rest []identity
	for _, a := range held {
		if slices.ContainsFunc(files, same(a)) {
			first = append(first, a)
		} else if !h.identitiesOnly {
			rest = append(rest, a)
		}
	}
	if h.named { // what somebody named goes before what an agent happens to hold
		first = append(append(first, files...), rest...)
	} else {
		first = append(append(first, rest...), files...)
	}
	for _, id := range first {
		if !slices.ContainsFunc(k.identities, same(id)) {
			k.identities = append(k.identities, id)
		}
	}
	return k
}

// fromAgent asks the agent what it holds. An agent that is not there or does not answer is a trouble, not an end.
func (k *keys) fromAgent(ctx context.Context, socket string, limit time.Duration) []identity {
	if socket == "" {
		return nil
	}
	trouble := func(err error) []identity {
		k.troubles = append(k.troubles, fmt.Sprintf("the agent at %s: %v", socket, err))
		return nil
	}
	dialer := net.Dialer{Timeout: limit}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return trouble(err)
	}
	conn.SetDeadline(time.Now().Add(limit)) // a signature may take longer, because somebody has to touch a key
	client := agent.NewClient(conn)
	signers, err := client.Signers()
	if err != nil {
		conn.Close()
		return trouble(err)
	}
	conn.SetDeadline(time.Time{})
	k.agent = conn
	list, _ := client.List()
	var ids []identity
	for _, s := range signers {
		id := identity{signer: s, from: "agent"}
		if _, certificate := s.PublicKey().(*ssh.Certificate); certificate {
			continue
		}
		for _, l := range list {
			if bytes.Equal(l.Blob, s.PublicKey().Marshal()) {
				id.from = fmt.Sprintf("agent, %q", l.Comment)
			}
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		k.troubles = append(k.troubles, "the SSH agent holds no keys")
	}
	return ids
}

// fromFile reads a private key. One that is encrypted is opened when a server wants it.
func (d *Dialer) fromFile(ctx context.Context, path string) (identity, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return d.fromPublic(path, err)
	}
	id := identity{from: "file " + path}
	id.signer, err = ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if !errors.As(err, &locked) {
		if _, bad := readPublic(path); bad == nil {
			return d.fromPublic(path, fs.ErrNotExist) // the config may name the public part of a key that the agent has
		}
		if err != nil {
			return id, fmt.Errorf("the key file %s: %w", path, err)
		}
		return id, nil
	}
	public := locked.PublicKey
	if public == nil {
		if public, err = readPublic(path + ".pub"); err != nil {
			return id, fmt.Errorf("the key file %s is encrypted in an old form and its public part is not readable: %w", path, err)
		}
	}
	id.signer = &lockedKey{Dialer: d, ctx: ctx, path: path, data: data, public: public}
	return id, nil
}

// fromPublic takes the public part of a key whose private part only an agent has.
func (d *Dialer) fromPublic(path string, missing error) (identity, error) {
	for _, p := range []string{path + ".pub", path} {
		if public, err := readPublic(p); err == nil {
			return identity{signer: &lockedKey{Dialer: d, path: path, public: public}, from: "file " + p}, nil
		}
	}
	return identity{}, fmt.Errorf("the key file %s: %w", path, missing)
}

func readPublic(path string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err
}

// lockedKey is a key whose private part is not at hand until it is needed.
type lockedKey struct {
	*Dialer
	ctx    context.Context
	path   string
	data   []byte // nil if there is no private part
	public ssh.PublicKey
}

func (l *lockedKey) PublicKey() ssh.PublicKey { return l.public }

func (l *lockedKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return l.SignWithAlgorithm(rand, data, l.public.Type())
}

func (l *lockedKey) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signer, err := l.open()
	if err != nil {
		return nil, err
	}
	as, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("the key of %s cannot sign with %s", l.path, algorithm)
	}
	return as.SignWithAlgorithm(rand, data, algorithm)
}

// open asks for the passphrase, once for each file, whatever number of hosts wants the key.
func (l *lockedKey) open() (ssh.Signer, error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	if s := l.opened[l.path]; s != nil {
		return s, nil
	}
	if l.data == nil {
		return nil, fmt.Errorf("the server accepts the key of %s, but its private part is not there and no agent holds it", l.path)
	}
	if l.Prompt == nil {
		return nil, fmt.Errorf("the server accepts the key of %s, but it is encrypted and there is no terminal to ask "+
			"for the passphrase; load it into the agent: ssh-add %s", l.path, l.path)
	}
	signer, err := l.unlock()
	if err != nil {
		return nil, err
	}
	if l.opened == nil {
		l.opened = map[string]ssh.Signer{}
	}
	l.opened[l.path] = signer
	return signer, nil
}

// unlock asks up to three times.
func (l *lockedKey) unlock() (ssh.Signer, error) {
	var bad error
	for range 3 {
		phrase, err := l.Prompt(l.ctx, l.path)
		if err != nil {
			return nil, fmt.Errorf("ask for the passphrase of %s: %w", l.path, err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(l.data, phrase)
		clear(phrase)
		if err == nil {
			return signer, nil
		}
		bad = err
	}
	return nil, fmt.Errorf("open the key file %s: %w", l.path, bad)
}
