//go:build !linux

package croc_test

import "errors"

func runAlone() (exit int, ok bool) { return 0, false }

func raiseLoopback() error { return errors.ErrUnsupported }
