package chain

import (
	"context"

	upgradetypes "cosmossdk.io/x/upgrade/types"

	"github.com/cosmos/cosmos-sdk/types/module"
)

// UpgradeName is the on-chain upgrade this binary carries out, none when empty. It is set by the linker:
//
//	-ldflags "-X github.com/pressenter/pressenter/chain.UpgradeName=v2"
//
// so that the binaries before and after an upgrade come from one source, and a rehearsal tests the procedure alone.
var UpgradeName string

// setUpgradeHandler registers the upgrade. A binary without the handler stops at the upgrade's height, and one that
// has it stops before: as with the binaries of any other chain.
func (a *App) setUpgradeHandler() {
	if UpgradeName == "" {
		return
	}
	migrate := func(ctx context.Context, _ upgradetypes.Plan, from module.VersionMap) (module.VersionMap, error) {
		return a.ModuleManager.RunMigrations(ctx, a.Configurator(), from)
	}
	a.upgrade.SetUpgradeHandler(UpgradeName, migrate)
}
