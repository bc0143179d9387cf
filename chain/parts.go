package chain

import (
	"fmt"
	"io"

	"cosmossdk.io/core/appmodule"
	"cosmossdk.io/depinject"
	"cosmossdk.io/log"
	upgradekeeper "cosmossdk.io/x/upgrade/keeper"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/genutil"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	stakingkeeper "github.com/cosmos/cosmos-sdk/x/staking/keeper"
)

// Parts is what the module list gives before there is a database: enough for every command that is not a node, and
// what a node is built from. It is dear to make (see README.md), so a process makes it once.
type Parts struct {
	Codec             codec.Codec
	Amino             *codec.LegacyAmino
	InterfaceRegistry codectypes.InterfaceRegistry
	TxConfig          client.TxConfig
	Basics            module.BasicManager
	Modules           map[string]appmodule.AppModule

	builder *runtime.AppBuilder
	upgrade *upgradekeeper.Keeper
	staking *stakingkeeper.Keeper
}

// Assemble wires the modules together. The options are those of the node that will be built; for commands that build
// none, an empty set does.
func Assemble(logger log.Logger, options servertypes.AppOptions) (*Parts, error) {
	SetIdentity()
	parts := &Parts{}
	err := depinject.Inject(
		depinject.Configs(modules(), depinject.Supply(logger, options, customBasics())),
		&parts.Codec, &parts.Amino, &parts.InterfaceRegistry, &parts.TxConfig, &parts.Basics, &parts.Modules,
		&parts.builder, &parts.upgrade, &parts.staking,
	)
	if err != nil {
		return nil, fmt.Errorf("assemble the chain's modules: %w", err)
	}
	return parts, nil
}

// customBasics gives genutil the check of gentxs that `genesis gentx` and `collect-gentxs` look for.
func customBasics() map[string]module.AppModuleBasic {
	return map[string]module.AppModuleBasic{
		genutiltypes.ModuleName: genutil.NewAppModuleBasic(genutiltypes.DefaultMessageValidator),
	}
}

// Build makes the application on a database. Parts make one application: the keepers in them belong to it.
func (p *Parts) Build(db dbm.DB, trace io.Writer, latest bool, options ...func(*baseapp.BaseApp)) (*App, error) {
	app := &App{App: p.builder.Build(db, trace, options...), codec: p.Codec, upgrade: p.upgrade, staking: p.staking}
	app.setUpgradeHandler()
	if err := app.Load(latest); err != nil {
		return nil, fmt.Errorf("load the chain's state: %w", err)
	}
	return app, nil
}
