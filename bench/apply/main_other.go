//go:build !linux

// Command apply measures servers that are namespaces of Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench apply: its servers are namespaces of Linux: run this there")
	os.Exit(1)
}
