package main

import (
	"os"

	"cosmossdk.io/client/v2/autocli"
	"cosmossdk.io/log"
	"cosmossdk.io/tools/confix/cmd"
	cmtconfig "github.com/cometbft/cometbft/config"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/config"
	"github.com/cosmos/cosmos-sdk/client/debug"
	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/client/grpc/cmtservice"
	"github.com/cosmos/cosmos-sdk/client/keys"
	"github.com/cosmos/cosmos-sdk/client/pruning"
	"github.com/cosmos/cosmos-sdk/client/rpc"
	"github.com/cosmos/cosmos-sdk/client/snapshot"
	addresscodec "github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/server"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authcli "github.com/cosmos/cosmos-sdk/x/auth/client/cli"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	txconfig "github.com/cosmos/cosmos-sdk/x/auth/tx/config"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	genutilcli "github.com/cosmos/cosmos-sdk/x/genutil/client/cli"

	"github.com/pressenter/pressenter/chain"
)

func newRoot() (*cobra.Command, error) {
	parts, err := chain.Assemble(log.NewNopLogger(), viper.New())
	if err != nil {
		return nil, err
	}
	initial := client.Context{}.
		WithCodec(parts.Codec).
		WithInterfaceRegistry(parts.InterfaceRegistry).
		WithLegacyAmino(parts.Amino).
		WithTxConfig(parts.TxConfig).
		WithAccountRetriever(authtypes.AccountRetriever{}).
		WithInput(os.Stdin).
		WithHomeDir(chain.DefaultHome()).
		WithViper(envPrefix)

	root := &cobra.Command{
		Use:           chain.DaemonName,
		Short:         "The daemon of the practice chain",
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return prepare(cmd, initial)
		},
	}
	root.AddCommand(
		genutilcli.InitCmd(parts.Basics, chain.DefaultHome()),
		genutilcli.Commands(parts.TxConfig, parts.Basics, chain.DefaultHome()),
		debug.Cmd(),
		cmd.ConfigCommand(),
		pruning.Cmd(newApp, chain.DefaultHome()),
		snapshot.Cmd(newApp),
		server.StatusCommand(),
		keys.Commands(),
		queryCommand(),
		txCommand(),
	)
	server.AddCommands(root, chain.DefaultHome(), newApp, exportApp, func(*cobra.Command) {})

	auto := autocli.AppOptions{
		Modules:               parts.Modules,
		AddressCodec:          addresscodec.NewBech32Codec(sdk.GetConfig().GetBech32AccountAddrPrefix()),
		ValidatorAddressCodec: addresscodec.NewBech32Codec(sdk.GetConfig().GetBech32ValidatorAddrPrefix()),
		ConsensusAddressCodec: addresscodec.NewBech32Codec(sdk.GetConfig().GetBech32ConsensusAddrPrefix()),
		ClientCtx:             initial,
	}
	comet := cmtservice.NewCometBFTCommands()
	auto.Modules[comet.Name()] = comet
	return root, auto.EnhanceRootCommand(root)
}

// prepare reads the flags and the three configuration files, and creates those that are missing.
func prepare(cmd *cobra.Command, ctx client.Context) error {
	cmd.SetOut(cmd.OutOrStdout())
	cmd.SetErr(cmd.ErrOrStderr())
	ctx, err := client.ReadPersistentCommandFlags(ctx.WithCmdContext(cmd.Context()), cmd.Flags())
	if err != nil {
		return err
	}
	if ctx, err = config.ReadFromClientConfig(ctx); err != nil {
		return err
	}
	if mode, _ := cmd.Flags().GetString(flags.FlagSignMode); mode == flags.SignModeTextual {
		if ctx, err = withTextual(ctx); err != nil {
			return err
		}
	}
	if err := client.SetCmdClientContextHandler(ctx, cmd); err != nil {
		return err
	}
	app := serverconfig.DefaultConfig()
	app.MinGasPrices = chain.MinGasPrices
	return server.InterceptConfigsPreRunHandler(cmd, serverconfig.DefaultConfigTemplate, app, cmtconfig.DefaultConfig())
}

// withTextual lets transactions be signed as text. It shows coins by their metadata, which a client asks a node for.
func withTextual(ctx client.Context) (client.Context, error) {
	config, err := authtx.NewTxConfigWithOptions(ctx.Codec, authtx.ConfigOptions{
		EnabledSignModes:           append(authtx.DefaultSignModes[:len(authtx.DefaultSignModes):len(authtx.DefaultSignModes)], signing.SignMode_SIGN_MODE_TEXTUAL),
		TextualCoinMetadataQueryFn: txconfig.NewGRPCCoinMetadataQueryFn(ctx),
	})
	if err != nil {
		return ctx, err
	}
	return ctx.WithTxConfig(config), nil
}

func queryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "query",
		Aliases:                    []string{"q"},
		Short:                      "Querying subcommands",
		SuggestionsMinimumDistance: 2,
		RunE:                       client.ValidateCmd,
	}
	cmd.AddCommand(
		rpc.WaitTxCmd(),
		rpc.ValidatorCommand(),
		server.QueryBlockCmd(),
		server.QueryBlocksCmd(),
		server.QueryBlockResultsCmd(),
		authcli.QueryTxCmd(),
		authcli.QueryTxsByEventsCmd(),
	)
	return cmd
}

func txCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "tx",
		Short:                      "Transactions subcommands",
		SuggestionsMinimumDistance: 2,
		RunE:                       client.ValidateCmd,
	}
	cmd.AddCommand(
		authcli.GetSignCommand(),
		authcli.GetSignBatchCommand(),
		authcli.GetMultiSignCommand(),
		authcli.GetMultiSignBatchCmd(),
		authcli.GetValidateSignaturesCommand(),
		authcli.GetBroadcastCommand(),
		authcli.GetEncodeCommand(),
		authcli.GetDecodeCommand(),
		authcli.GetSimulateCmd(),
	)
	return cmd
}
