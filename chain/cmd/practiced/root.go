package main

import (
	"os"
	"strings"

	"cosmossdk.io/log"
	confix "cosmossdk.io/tools/confix/cmd"
	cmtconfig "github.com/cometbft/cometbft/config"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/config"
	"github.com/cosmos/cosmos-sdk/client/debug"
	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/client/keys"
	"github.com/cosmos/cosmos-sdk/client/pruning"
	"github.com/cosmos/cosmos-sdk/client/snapshot"
	"github.com/cosmos/cosmos-sdk/server"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	txconfig "github.com/cosmos/cosmos-sdk/x/auth/tx/config"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"github.com/pressenter/pressenter/chain"
)

// daemon is one run of the program. The chain's modules are assembled at most once in it: before the command is
// parsed where the commands themselves come from the modules, else after its flags and files are read.
type daemon struct {
	parts   *chain.Parts
	options servertypes.AppOptions
}

// assemble makes the parts unless they are there.
func (d *daemon) assemble(logger log.Logger, options servertypes.AppOptions) error {
	if d.parts != nil {
		return nil
	}
	parts, err := chain.Assemble(logger, options)
	d.parts, d.options = parts, options
	return err
}

// root makes the tree of commands for the arguments. Those that need no modules are made first. When the arguments
// begin with one of them, the others, which are most of the tree, are left out.
func (d *daemon) root(args []string) (*cobra.Command, error) {
	root := &cobra.Command{
		Use:               chain.DaemonName,
		Short:             "The daemon of the practice chain",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: d.prepare,
	}
	home := chain.DefaultHome()
	root.AddCommand(
		keys.Commands(),
		debug.Cmd(),
		confix.ConfigCommand(),
		pruning.Cmd(d.newApp, home),
		snapshot.Cmd(d.newApp),
		server.StatusCommand(),
	)
	server.AddCommands(root, home, d.newApp, d.exportApp, func(*cobra.Command) {})
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		if found, _, err := root.Find(args[:1]); err == nil && found != root {
			dontPrepare(found)
			return root, nil
		}
	}
	if err := d.assemble(log.NewNopLogger(), viper.New()); err != nil {
		return nil, err
	}
	return root, d.addModuleCommands(root, home)
}

// dontPrepare spares `version` the reading of files, and a user who asks for it the making of a home folder.
func dontPrepare(cmd *cobra.Command) {
	if cmd.Name() == "version" {
		cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return nil }
	}
}

// prepare reads the flags and the three configuration files, and creates the files that are missing.
func (d *daemon) prepare(cmd *cobra.Command, _ []string) error {
	cmd.SetOut(cmd.OutOrStdout())
	cmd.SetErr(cmd.ErrOrStderr())

	app := serverconfig.DefaultConfig()
	app.MinGasPrices = chain.MinGasPrices
	err := server.InterceptConfigsPreRunHandler(cmd, serverconfig.DefaultConfigTemplate, app, cmtconfig.DefaultConfig())
	if err != nil {
		return err
	}
	node := server.GetServerContextFromCmd(cmd)
	if err := d.assemble(node.Logger, node.Viper); err != nil {
		return err
	}
	ctx, err := client.ReadPersistentCommandFlags(d.clientContext().WithCmdContext(cmd.Context()), cmd.Flags())
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
	return client.SetCmdClientContextHandler(ctx, cmd)
}

// clientContext is what a command knows of the chain before it has read its flags.
func (d *daemon) clientContext() client.Context {
	return client.Context{}.
		WithCodec(d.parts.Codec).
		WithInterfaceRegistry(d.parts.InterfaceRegistry).
		WithLegacyAmino(d.parts.Amino).
		WithTxConfig(d.parts.TxConfig).
		WithAccountRetriever(authtypes.AccountRetriever{}).
		WithInput(os.Stdin).
		WithHomeDir(chain.DefaultHome()).
		WithViper(envPrefix)
}

// withTextual lets transactions be signed as text. It shows coins by their metadata, which a client asks a node for.
func withTextual(ctx client.Context) (client.Context, error) {
	modes := append([]signing.SignMode{signing.SignMode_SIGN_MODE_TEXTUAL}, authtx.DefaultSignModes...)
	config, err := authtx.NewTxConfigWithOptions(ctx.Codec, authtx.ConfigOptions{
		EnabledSignModes:           modes,
		TextualCoinMetadataQueryFn: txconfig.NewGRPCCoinMetadataQueryFn(ctx),
	})
	if err != nil {
		return ctx, err
	}
	return ctx.WithTxConfig(config), nil
}
