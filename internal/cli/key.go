package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/apply"
	"github.com/pressenter/pressenter/internal/signing"
)

// maxKeyFile bounds the files that are read here: keys, sign states and backups are small.
const maxKeyFile = 1 << 20

func newKeyCmd(g *global) *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "The validator's consensus key and the operator's keyring"}
	c.AddCommand(newKeyShowCmd(g), newKeyRestoreCmd(g), newKeyArmCmd(g), newRecoveryCopyCmd(g), newRecoverCmd(g))
	return c
}

func newKeyShowCmd(g *global) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show", Short: "Show the consensus key's address and state, and where its backups are", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.look()
			if err != nil {
				return err
			}
			defer s.Close()
			t, err := s.Validator()
			if err != nil {
				return hint(usageError{err}, "run 'pressenter apply' first")
			}
			st, _ := s.Status(c.Context(), t)
			backups, err := s.Backups()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), struct {
					Signing api.SigningStatus `json:"signing"`
					Backups []string          `json:"backups"`
				}{st.Signing, backups})
			}
			w := c.OutOrStdout()
			fmt.Fprintf(w, "address  %s\nstate    %s (%s)\nsigned   up to height %d\n", st.Signing.Address, st.Signing.State, st.Signing.Reason, st.Signing.LastHeight)
			for _, b := range backups {
				fmt.Fprintf(w, "backup   %s\n", b)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newKeyRestoreCmd(g *global) *cobra.Command {
	var state string
	var mark int64
	var yes bool
	c := &cobra.Command{
		Use: "restore FILE", Short: "Bring a consensus key to the validator's host, disarmed", Args: cobra.ExactArgs(1),
		Long: "Bring a consensus key to the validator's host: a sealed backup (*.age) or a priv_validator_key.json.\n" +
			"The key is left disarmed: it signs nothing until 'pressenter key arm' has watched the chain and nobody else\n" +
			"signed with it. Give what is known of what it signed: --state priv_validator_state.json, or --high-water-mark.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := g.open()
			if err != nil {
				return err
			}
			defer s.Close()
			key, err := readKey(s, args[0])
			if err != nil {
				return err
			}
			defer clear(key)
			if mark, err = highWaterMark(state, mark); err != nil {
				return err
			}
			if err := sure(c, yes, "Bring this key to the validator's host? Whoever signs with it now must be stopped for good first."); err != nil {
				return err
			}
			st, err := s.RestoreKey(c.Context(), key, mark)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "key %s is on the host and %s: %s\nnext: pressenter key arm\n", st.Address, st.State, st.Reason)
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", "", "the priv_validator_state.json that belongs to the key")
	c.Flags().Int64Var(&mark, "high-water-mark", 0, "the highest height that the key may have signed")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

// readKey reads a key in the clear or a sealed backup.
func readKey(s *apply.Session, path string) ([]byte, error) {
	b, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(path) != ".age" {
		return b, nil
	}
	backup, err := s.OpenBackup(b)
	if err != nil {
		return nil, fmt.Errorf("open backup %q: %w", path, err)
	}
	return backup.KeyFile.Bytes(), nil
}

func highWaterMark(state string, mark int64) (int64, error) {
	if state == "" {
		return mark, nil
	}
	b, err := readSmall(state)
	if err != nil {
		return 0, err
	}
	st, err := signing.ParseState(b)
	if err != nil {
		return 0, fmt.Errorf("read %q: %w", state, err)
	}
	return max(mark, st.Height), nil
}

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// sure asks before a real key is touched. Enter means no.
func sure(c *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(c.InOrStdin()) {
		return hint(usageError{errors.New("this needs a person's yes")}, "--yes says it")
	}
	ok, err := confirm(c, question, false)
	if err != nil {
		return err
	}
	if !ok {
		return usageError{errors.New("nothing was changed")}
	}
	return nil
}

func newKeyArmCmd(g *global) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "arm", Short: "Let the consensus key sign, once its silence is proven", Args: cobra.NoArgs,
		Long: fmt.Sprintf("The validator's host reads %d blocks one after the other. If nobody signed with the key in any of them, the key\n", signing.SilentBlocks) +
			"is armed; it can then sign only above the last block that was read.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := g.open()
			if err != nil {
				return err
			}
			defer s.Close()
			if err := sure(c, yes, "Is every other signer that holds this key stopped for good?"); err != nil {
				return err
			}
			last := ""
			err = s.Arm(c.Context(), func(st api.SigningStatus) {
				if st.Reason != last {
					last = st.Reason
					fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", st.State, st.Reason)
				}
			})
			if err != nil {
				return hint(fmt.Errorf("arm consensus key: %w", err), "the key stays disarmed. Once that is mended, run 'pressenter key arm' again; 'pressenter status' says how far a node is")
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func newRecoveryCopyCmd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "recovery-copy FILE", Short: "Write a recovery copy of the operator's keyring", Args: cobra.ExactArgs(1),
		Long: "Write a sealed copy of the operator's keyring to FILE and show the code that opens it, once.\n" +
			"Keep the two in different places. Without the keyring nobody can change the deployment.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := g.open()
			if err != nil {
				return err
			}
			defer s.Close()
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			code, err := s.RecoveryCopy(f)
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				_ = os.Remove(args[0])
				return fmt.Errorf("write recovery copy: %w", err)
			}
			fmt.Fprintf(c.ErrOrStderr(), "wrote %s; write this code down, it is not shown again:\n", args[0])
			fmt.Fprintln(c.OutOrStdout(), code)
			return nil
		},
	}
}

func newRecoverCmd(g *global) *cobra.Command {
	return &cobra.Command{
		Use: "recover FILE", Short: "Bring the operator's keyring back from its recovery copy", Args: cobra.ExactArgs(1),
		Long: "Bring the operator's keyring back. The code is read from the terminal, or from standard input without one.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := g.open()
			if err != nil {
				return err
			}
			defer s.Close()
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			var code string
			if isTerminal(c.InOrStdin()) {
				b, err := readSecret("Recovery code: ")
				if err != nil {
					return err
				}
				code = string(b)
			} else if code, err = readLine(c.InOrStdin()); err != nil {
				return err
			}
			if err := s.RestoreKeyring(f, code); err != nil {
				return fmt.Errorf("recover keyring: %w", err)
			}
			fmt.Fprintln(c.OutOrStdout(), "the keyring is back; 'pressenter plan' adopts the newest roster from the hosts")
			return nil
		},
	}
}
