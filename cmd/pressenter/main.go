// Command pressenter runs validators of Cosmos SDK networks behind sentries.
package main

import "github.com/pressenter/pressenter/internal/cli"

func main() { cli.Main() }
