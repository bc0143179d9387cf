//go:build !linux

package main

import "errors"

func runAlone() (exit int, ok bool) { return 0, false }

func raiseLoopback() error { return errors.ErrUnsupported }
