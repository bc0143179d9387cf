// Package genesis makes a practice network's genesis file with the daemon's own commands, so that any chain's
// daemon can take the practice daemon's place.
//
// It works in a folder of its own on the operator's side. The accounts that hold the genesis validators' stake
// live there; the consensus keys do not: only their public halves are asked for.
package genesis

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/daemon"
)

// Validator is one genesis validator.
type Validator struct {
	Name      string
	Consensus []byte // ed25519 public key
	NodeID    string
	Stake     int64 // in whole units of 10^6 of the smallest denomination
}

// Workshop is the folder in which a genesis is made.
type Workshop struct {
	Dir     string
	Binary  string // the daemon
	ChainID string
	Denom   string
}

// unit is how many of the smallest denomination make one whole one, as nearly every chain has it.
const unit = 1_000_000

// accounts holds the daemon's keyring with the practice accounts. Nothing of value is ever in it, so it is the
// daemon's own unprotected "test" keyring.
const keyring = "test"

// Prepare makes the accounts of the named validators and the skeleton of the genesis. It needs nothing from any
// host, so it can run while hosts are being made. Running it again changes nothing.
func (w Workshop) Prepare(ctx context.Context, names []string) error {
	if _, err := os.Stat(w.path("prepared")); err == nil {
		return nil
	}
	if err := os.RemoveAll(w.Dir); err != nil { // an earlier run was interrupted: nobody has used what it made
		return err
	}
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return err
	}
	if err := w.init(ctx); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(2)
	for _, name := range names {
		g.Go(func() error { return w.account(ctx, name) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return atomicfile.Write(w.path("prepared"), nil, 0o600)
}

// Make writes and returns the genesis in which every validator has its stake. A finished genesis is returned as it
// is: a chain has one genesis for ever.
func (w Workshop) Make(ctx context.Context, validators []Validator) ([]byte, error) {
	if b, err := os.ReadFile(w.path("genesis.json")); err == nil {
		return b, nil
	}
	names := make([]string, len(validators))
	for i, v := range validators {
		names[i] = v.Name
	}
	if err := w.Prepare(ctx, names); err != nil {
		return nil, err
	}
	if err := w.fund(ctx, validators); err != nil {
		return nil, err
	}
	if err := w.sign(ctx, validators); err != nil {
		return nil, err
	}
	if _, err := w.run(ctx, "genesis", "collect-gentxs"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(w.path("config/genesis.json"))
	if err != nil {
		return nil, err
	}
	if b, err = beginAt(b, time.Now().Add(lead)); err != nil {
		return nil, err
	}
	return b, atomicfile.Write(w.path("genesis.json"), b, 0o600)
}

// lead is how long after its making a network begins: on a quiet computer, all of its daemons run by then. They sleep
// until that moment and then begin to listen together, so nobody's first dial is refused and nobody is a block behind.
// One that comes late is only that.
const lead = time.Second

// beginAt sets a genesis' time.
func beginAt(genesis []byte, t time.Time) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(genesis, &doc); err != nil {
		return nil, fmt.Errorf("read genesis made by collect-gentxs: %w", err)
	}
	at, err := json.Marshal(t.UTC())
	if err != nil {
		return nil, err
	}
	doc["genesis_time"] = at
	return json.MarshalIndent(doc, "", "  ")
}

// init lets the daemon write its files and keeps an untouched copy of its genesis.
func (w Workshop) init(ctx context.Context) error {
	if _, err := w.run(ctx, "init", "workshop", "--chain-id", w.ChainID, "--default-denom", w.Denom); err != nil {
		return err
	}
	b, err := os.ReadFile(w.path("config/genesis.json"))
	if err != nil {
		return err
	}
	b, err = practiceParams(b)
	if err != nil {
		return err
	}
	return atomicfile.Write(w.path("skeleton.json"), b, 0o600)
}

// account makes one account and notes its address.
func (w Workshop) account(ctx context.Context, name string) error {
	out, err := w.run(ctx, "keys", "add", name, "--keyring-backend", keyring, "--output", "json")
	if err != nil {
		return err
	}
	var key struct{ Address string }
	if err := json.Unmarshal(out, &key); err != nil || key.Address == "" {
		return fmt.Errorf("read address of account %q: %w", name, errors.Join(err, errors.New("no address in the daemon's answer")))
	}
	return atomicfile.Write(w.path(name+".address"), []byte(key.Address), 0o600)
}

// fund starts from the skeleton and gives every validator's account its coins.
func (w Workshop) fund(ctx context.Context, validators []Validator) error {
	skeleton, err := os.ReadFile(w.path("skeleton.json"))
	if err != nil {
		return err
	}
	if err := atomicfile.Write(w.path("config/genesis.json"), skeleton, 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(w.path("config/gentx")); err != nil {
		return err
	}
	type coin struct {
		Denom  string `json:"denom"`
		Amount string `json:"amount"`
	}
	type account struct {
		Address string `json:"address"`
		Coins   []coin `json:"coins"`
	}
	accounts := make([]account, len(validators))
	for i, v := range validators {
		a, err := os.ReadFile(w.path(v.Name + ".address"))
		if err != nil {
			return fmt.Errorf("read address of account %q: %w", v.Name, err)
		}
		accounts[i] = account{Address: string(a), Coins: []coin{{w.Denom, strconv.FormatInt(10*v.Stake*unit, 10)}}}
	}
	b, err := json.Marshal(accounts)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(w.path("accounts.json"), b, 0o600); err != nil {
		return err
	}
	if _, err = w.run(ctx, "genesis", "bulk-add-genesis-account", w.path("accounts.json")); err == nil {
		return nil
	}
	for _, a := range accounts { // daemons older than SDK 0.50 know one account at a time only
		if _, err := w.run(ctx, "genesis", "add-genesis-account", a.Address, a.Coins[0].Amount+w.Denom); err != nil {
			return err
		}
	}
	return nil
}

// sign makes every validator's genesis transaction.
func (w Workshop) sign(ctx context.Context, validators []Validator) error {
	if err := os.MkdirAll(w.path("config/gentx"), 0o700); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(2)
	for _, v := range validators {
		g.Go(func() error {
			pub := fmt.Sprintf(`{"@type":"/cosmos.crypto.ed25519.PubKey","key":%q}`, base64.StdEncoding.EncodeToString(v.Consensus))
			_, err := w.run(ctx, "genesis", "gentx", v.Name, fmt.Sprintf("%d%s", v.Stake*unit, w.Denom),
				"--chain-id", w.ChainID, "--keyring-backend", keyring, "--moniker", v.Name,
				"--pubkey", pub, "--node-id", v.NodeID, "--ip", "127.0.0.1",
				"--output-document", w.path(filepath.Join("config/gentx", v.Name+".json")))
			return err
		})
	}
	return g.Wait()
}

// practiceParams loosens what would punish somebody who practises: a validator that was off for an hour is not
// jailed for it. Chains without a slashing module are left as they are.
func practiceParams(genesis []byte) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(genesis, &doc); err != nil {
		return nil, fmt.Errorf("read genesis made by init: %w", err)
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(doc["app_state"], &state); err != nil {
		return nil, fmt.Errorf("read app_state of genesis made by init: %w", err)
	}
	var slashing map[string]json.RawMessage
	if json.Unmarshal(state["slashing"], &slashing) != nil {
		return genesis, nil
	}
	var params map[string]json.RawMessage
	if json.Unmarshal(slashing["params"], &params) != nil {
		return genesis, nil
	}
	params["signed_blocks_window"] = json.RawMessage(`"10000"`)                 // as on the Cosmos Hub
	params["min_signed_per_window"] = json.RawMessage(`"0.050000000000000000"`) // as on the Cosmos Hub
	return nest(doc, state, slashing, params)
}

func nest(doc, state, slashing, params map[string]json.RawMessage) ([]byte, error) {
	var err error
	put := func(m map[string]json.RawMessage, key string, v any) {
		b, e := json.Marshal(v)
		err = errors.Join(err, e)
		m[key] = b
	}
	put(slashing, "params", params)
	put(state, "slashing", slashing)
	put(doc, "app_state", state)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(doc, "", "  ")
}

// Addresses returns the practice accounts by validator name.
func (w Workshop) Addresses() (map[string]string, error) {
	files, err := fs.Glob(os.DirFS(w.Dir), "*.address")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(w.path(f))
		if err != nil {
			return nil, err
		}
		out[strings.TrimSuffix(f, ".address")] = string(b)
	}
	return out, nil
}

func (w Workshop) path(name string) string { return filepath.Join(w.Dir, name) }

func (w Workshop) run(ctx context.Context, args ...string) ([]byte, error) {
	return daemon.Command{Binary: w.Binary, Home: w.Dir}.Run(ctx, args...)
}
