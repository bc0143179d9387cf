package chain

import (
	runtimev1alpha1 "cosmossdk.io/api/cosmos/app/runtime/v1alpha1"
	appv1alpha1 "cosmossdk.io/api/cosmos/app/v1alpha1"
	authv1 "cosmossdk.io/api/cosmos/auth/module/v1"
	bankv1 "cosmossdk.io/api/cosmos/bank/module/v1"
	consensusv1 "cosmossdk.io/api/cosmos/consensus/module/v1"
	distributionv1 "cosmossdk.io/api/cosmos/distribution/module/v1"
	evidencev1 "cosmossdk.io/api/cosmos/evidence/module/v1"
	genutilv1 "cosmossdk.io/api/cosmos/genutil/module/v1"
	govv1 "cosmossdk.io/api/cosmos/gov/module/v1"
	mintv1 "cosmossdk.io/api/cosmos/mint/module/v1"
	slashingv1 "cosmossdk.io/api/cosmos/slashing/module/v1"
	stakingv1 "cosmossdk.io/api/cosmos/staking/module/v1"
	txv1 "cosmossdk.io/api/cosmos/tx/config/v1"
	upgradev1 "cosmossdk.io/api/cosmos/upgrade/module/v1"
	"cosmossdk.io/core/appconfig"
	"cosmossdk.io/depinject"
	_ "cosmossdk.io/x/evidence"
	evidencetypes "cosmossdk.io/x/evidence/types"
	_ "cosmossdk.io/x/upgrade"
	upgradetypes "cosmossdk.io/x/upgrade/types"

	"github.com/cosmos/cosmos-sdk/runtime"
	_ "github.com/cosmos/cosmos-sdk/x/auth"
	_ "github.com/cosmos/cosmos-sdk/x/auth/tx/config"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	_ "github.com/cosmos/cosmos-sdk/x/bank"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	_ "github.com/cosmos/cosmos-sdk/x/consensus"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	_ "github.com/cosmos/cosmos-sdk/x/distribution"
	distributiontypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	genutiltypes "github.com/cosmos/cosmos-sdk/x/genutil/types"
	_ "github.com/cosmos/cosmos-sdk/x/gov"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	_ "github.com/cosmos/cosmos-sdk/x/mint"
	minttypes "github.com/cosmos/cosmos-sdk/x/mint/types"
	_ "github.com/cosmos/cosmos-sdk/x/slashing"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	_ "github.com/cosmos/cosmos-sdk/x/staking"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
)

// modules is the chain, as depinject takes it: which modules there are, and in which order they act.
func modules() depinject.Config {
	return appconfig.Compose(&appv1alpha1.Config{Modules: []*appv1alpha1.ModuleConfig{
		{Name: runtime.ModuleName, Config: appconfig.WrapAny(order())},
		{Name: authtypes.ModuleName, Config: appconfig.WrapAny(&authv1.Module{
			Bech32Prefix:             Bech32Prefix,
			ModuleAccountPermissions: moduleAccounts(),
		})},
		{Name: banktypes.ModuleName, Config: appconfig.WrapAny(&bankv1.Module{
			BlockedModuleAccountsOverride: blockedAccounts(),
		})},
		{Name: stakingtypes.ModuleName, Config: appconfig.WrapAny(&stakingv1.Module{})},
		{Name: slashingtypes.ModuleName, Config: appconfig.WrapAny(&slashingv1.Module{})},
		{Name: evidencetypes.ModuleName, Config: appconfig.WrapAny(&evidencev1.Module{})},
		{Name: distributiontypes.ModuleName, Config: appconfig.WrapAny(&distributionv1.Module{})},
		{Name: minttypes.ModuleName, Config: appconfig.WrapAny(&mintv1.Module{})},
		{Name: govtypes.ModuleName, Config: appconfig.WrapAny(&govv1.Module{})},
		{Name: upgradetypes.ModuleName, Config: appconfig.WrapAny(&upgradev1.Module{})},
		{Name: consensustypes.ModuleName, Config: appconfig.WrapAny(&consensusv1.Module{})},
		{Name: genutiltypes.ModuleName, Config: appconfig.WrapAny(&genutilv1.Module{})},
		{Name: "tx", Config: appconfig.WrapAny(&txv1.Config{})},
	}})
}

// order says when each module acts.
func order() *runtimev1alpha1.Module {
	return &runtimev1alpha1.Module{
		AppName: Name,
		// An upgrade must stop or migrate the chain before any other module touches the block.
		PreBlockers: []string{upgradetypes.ModuleName},
		// Distribution pays out what mint and the last block's fees brought, before slashing or evidence change who
		// held what; staking's record of the past comes last.
		BeginBlockers: []string{
			minttypes.ModuleName, distributiontypes.ModuleName, slashingtypes.ModuleName, evidencetypes.ModuleName,
			stakingtypes.ModuleName,
		},
		EndBlockers: []string{govtypes.ModuleName, stakingtypes.ModuleName},
		// The store of auth has another name than the module on every chain of this SDK line.
		OverrideStoreKeys: []*runtimev1alpha1.StoreKeyConfig{{ModuleName: authtypes.ModuleName, KvStoreKey: "acc"}},
		// Genutil delivers the gentxs, so it follows all that such a transaction touches: accounts, coins, pools.
		InitGenesis: []string{
			authtypes.ModuleName, banktypes.ModuleName, distributiontypes.ModuleName, stakingtypes.ModuleName,
			slashingtypes.ModuleName, govtypes.ModuleName, minttypes.ModuleName, genutiltypes.ModuleName,
			evidencetypes.ModuleName, upgradetypes.ModuleName,
		},
	}
}

// moduleAccounts names the accounts that belong to modules and what each may do.
func moduleAccounts() []*authv1.ModuleAccountPermission {
	return []*authv1.ModuleAccountPermission{
		{Account: authtypes.FeeCollectorName},
		{Account: distributiontypes.ModuleName},
		{Account: minttypes.ModuleName, Permissions: []string{authtypes.Minter}},
		{Account: stakingtypes.BondedPoolName, Permissions: []string{authtypes.Burner, authtypes.Staking}},
		{Account: stakingtypes.NotBondedPoolName, Permissions: []string{authtypes.Burner, authtypes.Staking}},
		{Account: govtypes.ModuleName, Permissions: []string{authtypes.Burner}},
	}
}

// blockedAccounts may not be sent coins: coins that arrive there outside their module's own accounting break its
// invariants. Gov is left out, a proposal may fund it.
func blockedAccounts() []string {
	return []string{
		authtypes.FeeCollectorName, distributiontypes.ModuleName, minttypes.ModuleName,
		stakingtypes.BondedPoolName, stakingtypes.NotBondedPoolName,
	}
}
