package chain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cosmossdk.io/log"
	"cosmossdk.io/math"
	upgradetypes "cosmossdk.io/x/upgrade/types"
	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/spf13/viper"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	"github.com/cosmos/cosmos-sdk/testutil/sims"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
)

const testChainID = "practice-test-1"

// testChain is an application with one validator and one account, driven without a consensus engine.
type testChain struct {
	*App
	home    string
	db      dbm.DB
	now     time.Time
	account sdk.AccAddress
}

// newTestChain initialises a chain and makes its first block.
func newTestChain(t *testing.T) *testChain {
	t.Helper()
	SetIdentity()
	c := &testChain{
		home:    t.TempDir(),
		db:      dbm.NewMemDB(),
		now:     time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		account: sdk.AccAddress(secp256k1.GenPrivKey().PubKey().Address()),
	}
	parts := c.open(t)

	validator := cmttypes.NewValidator(ed25519.GenPrivKey().PubKey(), 1)
	state, err := sims.GenesisStateWithValSet(
		parts.Codec, parts.Basics.DefaultGenesis(parts.Codec), cmttypes.NewValidatorSet([]*cmttypes.Validator{validator}),
		[]authtypes.GenesisAccount{authtypes.NewBaseAccountWithAddress(c.account)},
		banktypes.Balance{Address: c.account.String(), Coins: sdk.NewCoins(sdk.NewCoin(BondDenom, math.NewInt(1_000_000)))},
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := parts.Basics.ValidateGenesis(parts.Codec, parts.TxConfig, state); err != nil {
		t.Fatalf("the default genesis state is not valid: %v", err)
	}
	bytes, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	params := cmttypes.DefaultConsensusParams().ToProto()
	_, err = c.InitChain(&abci.RequestInitChain{
		Time: c.now, ChainId: testChainID, ConsensusParams: &params, AppStateBytes: bytes, InitialHeight: 1,
	})
	if err != nil {
		t.Fatalf("init chain: %v", err)
	}
	c.mustMakeBlock(t)
	return c
}

// open makes the application on the chain's database, as a process that starts does.
func (c *testChain) open(t *testing.T) *Parts {
	t.Helper()
	options := viper.New()
	options.Set(flags.FlagHome, c.home)
	parts, err := Assemble(log.NewNopLogger(), options)
	if err != nil {
		t.Fatal(err)
	}
	if c.App, err = parts.Build(c.db, nil, true, baseapp.SetChainID(testChainID)); err != nil {
		t.Fatal(err)
	}
	return parts
}

func (c *testChain) makeBlock() error {
	c.now = c.now.Add(5 * time.Second)
	if _, err := c.FinalizeBlock(&abci.RequestFinalizeBlock{Height: c.LastBlockHeight() + 1, Time: c.now}); err != nil {
		return err
	}
	_, err := c.Commit()
	return err
}

func (c *testChain) mustMakeBlock(t *testing.T) {
	t.Helper()
	if err := c.makeBlock(); err != nil {
		t.Fatalf("block %d: %v", c.LastBlockHeight()+1, err)
	}
}

func TestBlocks(t *testing.T) {
	c := newTestChain(t)
	c.mustMakeBlock(t)
	c.mustMakeBlock(t)
	if got := c.LastBlockHeight(); got != 3 {
		t.Fatalf("height %d after three blocks", got)
	}

	exported, err := c.Export(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if exported.Height != 4 || len(exported.Validators) != 1 {
		t.Errorf("exported height %d and %d validators, want 4 and 1", exported.Height, len(exported.Validators))
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(exported.AppState, &state); err != nil {
		t.Fatal(err)
	}
	var bank banktypes.GenesisState
	c.codec.MustUnmarshalJSON(state[banktypes.ModuleName], &bank)
	if len(bank.Supply) != 1 || bank.Supply[0].Denom != BondDenom {
		t.Fatalf("supply is %v, want one coin, %s", bank.Supply, BondDenom)
	}
	var mint minttypes.GenesisState
	c.codec.MustUnmarshalJSON(state[minttypes.ModuleName], &mint)
	if !mint.Minter.AnnualProvisions.IsPositive() {
		t.Error("the mint module did not act in three blocks")
	}
	if _, err := c.Export(true, nil); err == nil {
		t.Error("export for height zero is not refused")
	}
}

func TestReopen(t *testing.T) {
	c := newTestChain(t)
	want := c.LastCommitID().Hash
	c.open(t)
	if c.LastBlockHeight() != 1 || string(c.LastCommitID().Hash) != string(want) {
		t.Fatalf("reopened at height %d, hash %X, want 1, %X", c.LastBlockHeight(), c.LastCommitID().Hash, want)
	}
	c.mustMakeBlock(t)
}

func TestIdentity(t *testing.T) {
	c := newTestChain(t)
	if got := c.account.String(); !strings.HasPrefix(got, "practice1") {
		t.Errorf("account address %s", got)
	}
	if got := sdk.ValAddress(c.account).String(); !strings.HasPrefix(got, "practicevaloper1") {
		t.Errorf("operator address %s", got)
	}
	if got := sdk.ConsAddress(c.account).String(); !strings.HasPrefix(got, "practicevalcons1") {
		t.Errorf("consensus address %s", got)
	}
	// The authority must be gov's account under this prefix: spelled with another, no proposal could ever pass.
	want, err := sdk.Bech32ifyAddressBytes(Bech32Prefix, authtypes.NewModuleAddress(govtypes.ModuleName))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.upgrade.Authority(c.NewContext(true), &upgradetypes.QueryAuthorityRequest{})
	if err != nil || got.Address != want {
		t.Errorf("authority of the upgrade module is %v (%v), want %s", got, err, want)
	}
}

func TestUpgrade(t *testing.T) {
	UpgradeName = ""
	t.Cleanup(func() { UpgradeName = "" })
	c := newTestChain(t)
	plan := upgradetypes.Plan{Name: "v2", Height: 3}
	if err := c.upgrade.ScheduleUpgrade(c.NewUncachedContext(false, cmtproto.Header{Height: 1}), plan); err != nil {
		t.Fatal(err)
	}
	c.mustMakeBlock(t)

	// The binary without the handler makes no block at the height, and leaves word for whoever supervises it.
	if err := c.makeBlock(); err == nil {
		t.Fatal("a block was made at the upgrade's height without its handler")
	}
	if _, err := os.Stat(filepath.Join(c.home, "data", upgradetypes.UpgradeInfoFilename)); err != nil {
		t.Errorf("no word of the upgrade on disk: %v", err)
	}

	UpgradeName = "v2"
	c.open(t)
	c.mustMakeBlock(t)
	done, height, err := c.upgrade.GetLastCompletedUpgrade(c.NewUncachedContext(false, cmtproto.Header{}))
	if err != nil || done != "v2" || height != 3 {
		t.Errorf("last completed upgrade is %q at %d (%v), want v2 at 3", done, height, err)
	}
}
