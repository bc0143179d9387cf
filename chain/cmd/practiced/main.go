// Command practiced is the daemon of the practice chain, with all the commands that the daemon of any Cosmos network
// has.
package main

import (
	"fmt"
	"os"

	servercmd "github.com/cosmos/cosmos-sdk/server/cmd"

	"github.com/pressenter/pressenter/chain"
)

// envPrefix starts the environment variables that stand in for flags: PRACTICED_HOME for --home.
const envPrefix = "PRACTICED"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	chain.SetIdentity()
	root, err := new(daemon).root(args)
	if err != nil {
		return err
	}
	return servercmd.Execute(root, envPrefix, chain.DefaultHome())
}
