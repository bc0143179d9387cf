package main

import (
	"errors"
	"io"

	"cosmossdk.io/log"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/server"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"

	"github.com/pressenter/pressenter/chain"
)

// newApp makes the application for the server's commands, whose signature leaves panics as the only way to fail.
func newApp(logger log.Logger, db dbm.DB, trace io.Writer, options servertypes.AppOptions) servertypes.Application {
	app, err := buildApp(logger, db, trace, options, true)
	if err != nil {
		panic(err)
	}
	return app
}

func buildApp(logger log.Logger, db dbm.DB, trace io.Writer, options servertypes.AppOptions, latest bool) (*chain.App, error) {
	parts, err := chain.Assemble(logger, options)
	if err != nil {
		return nil, err
	}
	return parts.Build(db, trace, latest, server.DefaultBaseappOptions(options)...)
}

// exportApp writes the state at a height, or the newest where the height is -1.
func exportApp(logger log.Logger, db dbm.DB, trace io.Writer, height int64, zeroHeight bool, _ []string,
	options servertypes.AppOptions, modules []string,
) (servertypes.ExportedApp, error) {
	if home, _ := options.Get(flags.FlagHome).(string); home == "" {
		return servertypes.ExportedApp{}, errors.New("export: no home folder is set")
	}
	app, err := buildApp(logger, db, trace, options, height == -1)
	if err != nil {
		return servertypes.ExportedApp{}, err
	}
	if height != -1 {
		if err := app.LoadHeight(height); err != nil {
			return servertypes.ExportedApp{}, err
		}
	}
	return app.Export(zeroHeight, modules)
}
