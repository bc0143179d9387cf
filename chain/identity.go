package chain

import (
	"os"
	"path/filepath"
	"sync"

	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/version"
)

const (
	// Name is the name of the network's software, as `practiced version --long` and the genesis file give it.
	Name = "practice"
	// DaemonName is the name of the daemon.
	DaemonName = "practiced"
	// Bech32Prefix starts every account address. It is no other chain's, so that an address of a practice network can
	// never be taken for one that holds money.
	Bech32Prefix = "practice"
	// BondDenom is the only coin: what is staked, minted, deposited with proposals and paid as fee.
	BondDenom = "uprac"
	// MinGasPrices is what the generated app.toml asks for a transaction. The SDK's own default is empty, and a node
	// does not start with that.
	MinGasPrices = "0" + BondDenom
)

// DefaultHome is the node's folder where no other is named: ~/.practiced, or .practiced in the working folder for a
// user without a home, such as a service user.
func DefaultHome() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return "." + DaemonName
	}
	return filepath.Join(home, "."+DaemonName)
}

var identity sync.Once

// SetIdentity gives this process the address prefixes, the coin and the version information of the practice chain.
// The SDK keeps all three in globals and reads some of them while it assembles an application: the address of the gov
// module, which is the authority of every other, is spelled with the global prefix. So this comes before anything else.
func SetIdentity() {
	identity.Do(func() {
		sdk.DefaultBondDenom = BondDenom

		config := sdk.GetConfig()
		config.SetBech32PrefixForAccount(Bech32Prefix, Bech32Prefix+sdk.PrefixPublic)
		operator := Bech32Prefix + sdk.PrefixValidator + sdk.PrefixOperator
		config.SetBech32PrefixForValidator(operator, operator+sdk.PrefixPublic)
		consensus := Bech32Prefix + sdk.PrefixValidator + sdk.PrefixConsensus
		config.SetBech32PrefixForConsensusNode(consensus, consensus+sdk.PrefixPublic)
		config.Seal()

		// What the linker has set is kept.
		if version.Name == "" {
			version.Name = Name
			version.AppName = DaemonName
		}
		if version.Version == "" {
			version.Version = "dev"
		}
	})
}
