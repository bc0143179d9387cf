package main

import (
	"io"

	"cosmossdk.io/log"
	dbm "github.com/cosmos/cosmos-db"

	"github.com/cosmos/cosmos-sdk/server"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"

	"github.com/pressenter/pressenter/chain"
	"github.com/pressenter/pressenter/chain/internal/earlygc"
)

// newApp makes the application for the server's commands, whose signature leaves a panic as the only way to fail.
func (d *daemon) newApp(
	logger log.Logger, db dbm.DB, trace io.Writer, options servertypes.AppOptions,
) servertypes.Application {
	app, err := d.build(logger, db, trace, options, true)
	if err != nil {
		panic(err)
	}
	return app
}

// build makes the application from the parts that are there, unless they were assembled with other options: `prune`
// has options of its own.
func (d *daemon) build(
	logger log.Logger, db dbm.DB, trace io.Writer, options servertypes.AppOptions, latest bool,
) (*chain.App, error) {
	// Whatever builds the application may run for months.
	earlygc.On()
	if d.options != options {
		d.parts = nil
	}
	if err := d.assemble(logger, options); err != nil {
		return nil, err
	}
	return d.parts.Build(db, trace, latest, server.DefaultBaseappOptions(options)...)
}

// exportApp writes the state at a height, or the newest where the height is -1.
func (d *daemon) exportApp(
	logger log.Logger, db dbm.DB, trace io.Writer, height int64, zeroHeight bool, _ []string,
	options servertypes.AppOptions, modules []string,
) (servertypes.ExportedApp, error) {
	newest := height == -1
	app, err := d.build(logger, db, trace, options, newest)
	if err != nil {
		return servertypes.ExportedApp{}, err
	}
	if !newest {
		if err := app.LoadHeight(height); err != nil {
			return servertypes.ExportedApp{}, err
		}
	}
	return app.Export(zeroHeight, modules)
}
