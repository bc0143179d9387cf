//go:build !linux

package main

import (
	"context"
	"errors"
)

func run(context.Context, settings) error {
	return errors.New("the mesh is measured in network namespaces: run this on Linux")
}
