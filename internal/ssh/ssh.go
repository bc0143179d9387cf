// Package ssh is the way to a server that somebody else set up: it logs in, runs commands, pushes files, and says what
// is wrong when it cannot.
//
// A [Dialer] goes where the ssh program would go: it honours ~/.ssh/config, the agent, key files and bastions. What it
// cannot honour and would lead elsewhere (ProxyCommand, Match exec) it refuses, with the line. It logs in with keys only:
// no passwords, no one-time codes, no certificates of users or hosts.
//
// Host keys are pinned in a file of ours at the first contact, which a person or a policy confirms. The keys in the user's
// own known_hosts count as confirmed. A key that changed is never accepted.
//
// Nothing here waits without a limit. Each step of a connection has its own, and a connection that died is noticed within
// half a minute. Whatever fails is an [Error], which names the step and says what to try next. Only what time can heal is
// tried again: never a login that was refused, because servers ban who repeats that, and never a host key.
package ssh

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// Dialer says how to reach servers. Its zero value uses the user's config and agent and refuses hosts that are not known.
// It may be used by many goroutines at once and must not be copied or changed after its first use.
type Dialer struct {
	// Pins is the file that holds the host keys which were seen at the first contact, in the form of known_hosts. Empty
	// for none: then only the user's own known_hosts counts.
	Pins string
	// OnFirstContact decides about the key of a host that nobody knows; nil refuses it. It is asked about one host at a
	// time. After nil the key is pinned.
	OnFirstContact func(context.Context, Contact) error

	// ConfigFile is read instead of ~/.ssh/config and /etc/ssh/ssh_config; [NoFile] reads none.
	ConfigFile string
	// Identities are files with private keys that are offered before those of the config.
	Identities []string
	// IdentitiesOnly offers only Identities and what the config names, and nothing else that an agent holds.
	IdentitiesOnly bool
	// Agent is the socket of an agent, instead of the config's and that of SSH_AUTH_SOCK; [NoFile] uses none.
	Agent string
	// Jump are the bastions to go through, first to last, instead of the config's ProxyJump.
	Jump []Target
	// Prompt asks for the passphrase of a key file. It is called only when a server accepts the key, once for each file;
	// nil where nobody can be asked.
	Prompt func(ctx context.Context, file string) ([]byte, error)

	// Patience is how long Dial goes on when a host cannot be reached yet, because it boots for example. 0 tries once.
	Patience time.Duration
	// Limits bounds each step; what is 0 has its default.
	Limits Limits
	// Progress is told of each step, attempt and wait, if not nil. It may be called by several goroutines at once.
	Progress func(Event)

	home    string // instead of the user's, in tests
	backoff time.Duration

	contact sync.Mutex // held while a person is asked and while the pins change
	opened  map[string]ssh.Signer
	opening sync.Mutex
}

// NoFile stands for no file at all where an empty name stands for the usual one.
const NoFile = "none"

// Limits are the longest times that the steps of a connection may take. The time that a person needs for an answer does
// not count.
type Limits struct {
	Connect      time.Duration // look up the name and connect: 10 s
	Version      time.Duration // the server's first line: 10 s
	KeyExchange  time.Duration // 20 s
	Agent        time.Duration // the agent says what it holds: 5 s
	Authenticate time.Duration // 60 s, because an agent may wait for a touch
	Session      time.Duration // open a session and start a command in it: 20 s
	Silence      time.Duration // a connection that answers nothing for so long is dead: 25 s
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		limit *time.Duration
		value time.Duration
	}{
		{&l.Connect, 10 * time.Second},
		{&l.Version, 10 * time.Second},
		{&l.KeyExchange, 20 * time.Second},
		{&l.Agent, 5 * time.Second},
		{&l.Authenticate, 60 * time.Second},
		{&l.Session, 20 * time.Second},
		{&l.Silence, 25 * time.Second},
	} {
		if *d.limit == 0 {
			*d.limit = d.value
		}
	}
	return l
}

// Contact is a host key that nobody knows yet.
type Contact struct {
	Target      Target
	Address     string // host:port that was dialed
	Bastion     bool   // whether it is a host on the way
	KeyType     string // for example ssh-ed25519
	Fingerprint string // as ssh-keygen -l prints it: SHA256:…
}

func (d *Dialer) tell(e Event) {
	if d.Progress != nil {
		d.Progress(e)
	}
}

func (d *Dialer) homeDir() string {
	if d.home != "" {
		return d.home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return home
}

// sshDir returns the path of a file in the user's ~/.ssh.
func (d *Dialer) sshDir(name string) string { return filepath.Join(d.homeDir(), ".ssh", name) }
