package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/keyring"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

// Validator is the host that holds, or will hold, the deployment's consensus key.
func (s *Session) Validator() (Target, error) {
	targets, err := s.Hosts(nil)
	if err != nil {
		return Target{}, err
	}
	for _, t := range targets {
		if t.side == s.own && t.Host.Role == roster.RoleValidator {
			return t, nil
		}
	}
	return Target{}, errors.New("this deployment has no validator yet")
}

// OpenBackup opens a sealed backup of a consensus key with the operator's keyring.
func (s *Session) OpenBackup(sealed []byte) (*keyring.Backup, error) {
	k, err := s.keys(s.own)
	if err != nil {
		return nil, err
	}
	return k.OpenBackup(sealed)
}

// Backups are the files in which sealed consensus keys are kept.
func (s *Session) Backups() ([]string, error) {
	return filepath.Glob(filepath.Join(s.Dir.Backups(), "*.age"))
}

// AssignedKey is the consensus key that the roster knows the deployment by; zero before there is one.
func (s *Session) AssignedKey() roster.Key {
	if head := s.own.rosters.State().Effective; head != nil {
		return head.Signer.PubKey
	}
	return roster.Key{}
}

// RestoreKey brings a consensus key to the validator's host and leaves it disarmed. floor is the highest height that
// it is known to have signed; what the host itself finds on the chain is added when it is armed.
func (s *Session) RestoreKey(ctx context.Context, key []byte, floor int64) (api.SigningStatus, error) {
	pub, err := signing.PublicKey(key)
	if err != nil {
		return api.SigningStatus{}, err
	}
	if assigned := s.AssignedKey(); !assigned.IsZero() && assigned != roster.KeyOf(pub) {
		return api.SigningStatus{}, fmt.Errorf("this key has the address %s, the deployment's key has %s", signing.Address(pub), signing.Address(assigned.Public()))
	}
	t, err := s.Validator()
	if err != nil {
		return api.SigningStatus{}, err
	}
	c := s.Client(t)
	defer c.Close()
	return c.RestoreKey(ctx, api.RestoreRequest{Key: key, HighWaterMark: floor})
}

// Arm lets the validator's host watch the chain and arm its key, and reports how far it is until it is done.
func (s *Session) Arm(ctx context.Context, report func(api.SigningStatus)) error {
	t, err := s.Validator()
	if err != nil {
		return err
	}
	c := s.Client(t)
	defer c.Close()
	st, err := c.Arm(ctx, api.ArmRequest{By: s.Who})
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		report(st)
		if st.State == signing.Armed {
			return nil
		}
		if !st.Watching {
			return errors.New(st.Reason)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		host, err := c.Status(ctx)
		if err != nil {
			return err
		}
		st = host.Signing
	}
}

// RecoveryCopy writes a copy of the operator's keyring that opens with a code made for it alone.
func (s *Session) RecoveryCopy(w io.Writer) (code string, err error) {
	k, err := s.keys(s.own)
	if err != nil {
		return "", err
	}
	return k.RecoveryCopy(w)
}

// RestoreKeyring brings the operator's keyring back from its recovery copy. A keyring that is there is not replaced.
func (s *Session) RestoreKeyring(r io.Reader, code string) error {
	if _, err := keyring.Protected(s.own.dir.Operator()); err == nil {
		return errors.New("there is a keyring already; it was not changed")
	}
	k, err := keyring.OpenRecovery(r, code)
	if err != nil {
		return err
	}
	defer k.Wipe()
	if err := os.MkdirAll(s.own.dir.Operator(), 0o700); err != nil {
		return err
	}
	return k.Save(s.own.dir.Operator(), nil)
}
