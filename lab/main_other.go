//go:build !linux

// Command lab starts bare servers on this computer. They are namespaces of Linux.
package main

import (
	"fmt"
	"os"

	"github.com/pressenter/pressenter/internal/lab"
)

func main() {
	fmt.Fprintln(os.Stderr, "lab: error: no lab here:", lab.Why())
	os.Exit(1)
}
