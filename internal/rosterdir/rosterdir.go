// Package rosterdir keeps a roster's log in a folder, one file a generation, so that what was accepted survives
// whatever happens before anybody acts on it.
package rosterdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/roster"
)

// Store is a roster log on disk. It is safe for concurrent use within one process; across processes its owner's
// lock keeps others away.
type Store struct {
	dir string

	mu  sync.Mutex
	log *roster.Log // nil until the deployment is pinned
}

const pinFile = "deployment"

// Open reads the log kept in dir, which need not exist yet. A damaged file is an error: whoever obeys rosters must
// not go back to an older one because the newest cannot be read.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	pin, err := os.ReadFile(filepath.Join(dir, pinFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	root, err := roster.ParseHash(strings.TrimSpace(string(pin)))
	if err != nil {
		return nil, fmt.Errorf("read pinned deployment in %q: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var envs []roster.Envelope
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") || atomicfile.IsTemp(e.Name()) {
			continue
		}
		env, err := read(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		envs = append(envs, env)
	}
	s.log = roster.NewLog(root)
	if _, err := s.log.AddAll(envs); err != nil {
		return nil, fmt.Errorf("read rosters in %q: %w", dir, err)
	}
	return s, nil
}

func read(path string) (roster.Envelope, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return roster.Envelope{}, err
	}
	e, err := roster.DecodeEnvelope(b)
	if err != nil {
		return roster.Envelope{}, fmt.Errorf("read roster %q: %w", path, err)
	}
	return e, nil
}

// State is the state of the log; the zero State while nothing is known.
func (s *Store) State() roster.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return roster.State{}
	}
	return s.log.State()
}

// ID is the pinned deployment; the zero Hash while there is none.
func (s *Store) ID() roster.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return roster.Hash{}
	}
	return s.log.Root()
}

// Envelopes returns all generations, parents first.
func (s *Store) Envelopes() []roster.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return nil
	}
	return s.log.Envelopes()
}

// Has reports whether all of these generations are known.
func (s *Store) Has(hashes ...roster.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(hashes) == 0 || s.log != nil && s.log.Has(hashes...)
}

// Missing returns, parents first, what somebody lacks who has the generations named and all their ancestors.
func (s *Store) Missing(have ...roster.Hash) []roster.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil {
		return nil
	}
	return s.log.Missing(have...)
}

// Publish takes new generations one after the other, each of which must follow exactly what is known; the error is
// a [roster.Conflict] when somebody else was first. All or none are taken.
func (s *Store) Publish(envs []roster.Envelope) error {
	return s.take(envs, func(l *roster.Log) error {
		for _, e := range envs {
			if _, known := l.Get(e.Hash()); known {
				continue
			}
			if r, err := roster.Parse(e.Payload); err == nil && r.DeploymentID() != l.Root() {
				return roster.ErrForeign // rather than a conflict, which one could plan around
			}
			if err := l.Publish(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// Learn takes what is good of envs, in any order, forks included: evidence is never refused. The error joins what
// was wrong with the rest.
func (s *Store) Learn(envs []roster.Envelope) error {
	var bad error
	err := s.take(envs, func(l *roster.Log) error {
		_, bad = l.AddAll(envs)
		return nil
	})
	return errors.Join(err, bad)
}

// take lets add change a copy of the log, makes what is new durable, and only then lets anybody see it.
func (s *Store) take(envs []roster.Envelope, add func(*roster.Log) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, pinned := s.log, s.log != nil
	if pinned {
		log = log.Clone()
	} else {
		first, err := root(envs)
		if err != nil {
			return err
		}
		log = roster.NewLog(first)
	}
	if err := add(log); err != nil {
		return err
	}
	if log.Len() == 0 {
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if !pinned {
		if err := s.sweep(); err != nil {
			return err
		}
	}
	for _, e := range log.Envelopes() { // parents first, so a crash leaves a log that is whole
		if s.log != nil {
			if _, known := s.log.Get(e.Hash()); known {
				continue
			}
		}
		if err := atomicfile.Write(filepath.Join(s.dir, e.Hash().String()+".json"), roster.EncodeEnvelope(e), 0o600); err != nil {
			return fmt.Errorf("keep roster: %w", err)
		}
	}
	if !pinned { // last: a folder with a pin always has generation 1
		if err := atomicfile.Write(filepath.Join(s.dir, pinFile), []byte(log.Root().String()+"\n"), 0o600); err != nil {
			return fmt.Errorf("pin deployment: %w", err)
		}
	}
	s.log = log
	return nil
}

// sweep removes what an interrupted first roster left in a folder without a pin: nobody ever obeyed it, and it may be of
// another deployment.
func (s *Store) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove roster that was never pinned: %w", err)
		}
	}
	return nil
}

// root finds the generation 1 among envs, which a log without a pin is pinned to. Whoever is allowed to send the
// first roster is trusted to name the deployment.
func root(envs []roster.Envelope) (roster.Hash, error) {
	for _, e := range envs {
		if r, err := roster.Parse(e.Payload); err == nil && r.Generation == 1 {
			return r.Hash(), nil
		}
	}
	return roster.Hash{}, errors.New("no deployment is known here yet, and generation 1 is not among the rosters sent")
}
