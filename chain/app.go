// Package chain is the practice chain: a small but complete Cosmos SDK application, whose daemon stands in for the
// daemon of a real network wherever the product is tried out, rehearsed or tested.
package chain

import (
	"encoding/json"
	"errors"
	"fmt"

	upgradekeeper "cosmossdk.io/x/upgrade/keeper"

	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/runtime"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
	stakingkeeper "github.com/cosmos/cosmos-sdk/x/staking/keeper"
)

// App is the running application.
type App struct {
	*runtime.App

	codec   codec.Codec
	upgrade *upgradekeeper.Keeper
	staking *stakingkeeper.Keeper
}

// Export gives the state as a genesis file holds it, of all modules or of the named ones.
//
// Export for height zero is refused: it rewrites rewards, delegations and signing records module by module, and no
// practice network is restarted from its own export.
func (a *App) Export(zeroHeight bool, modules []string) (servertypes.ExportedApp, error) {
	if zeroHeight {
		return servertypes.ExportedApp{}, errors.New("--for-zero-height: the practice chain has no such export")
	}
	ctx := a.NewContext(true)
	genesis, err := a.ModuleManager.ExportGenesisForModules(ctx, a.codec, modules)
	if err != nil {
		return servertypes.ExportedApp{}, fmt.Errorf("export the state: %w", err)
	}
	state, err := json.MarshalIndent(genesis, "", "  ")
	if err != nil {
		return servertypes.ExportedApp{}, fmt.Errorf("export the state: %w", err)
	}
	validators, err := staking.WriteValidators(ctx, a.staking)
	if err != nil {
		return servertypes.ExportedApp{}, fmt.Errorf("export the validators: %w", err)
	}
	return servertypes.ExportedApp{
		AppState:   state,
		Validators: validators,
		// The exported state is that after the last block, so the next chain starts one higher.
		Height:          a.LastBlockHeight() + 1,
		ConsensusParams: a.GetConsensusParams(ctx),
	}, nil
}
