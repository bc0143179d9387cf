// Mirror lays out the fake providers for OpenTofu and Terraform, as a filesystem mirror with the CLI's configuration beside
// it. The providers are copies of this program: called terraform-provider-NAME, it is that provider.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pressenter/pressenter/fakecloud"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fakecloud:", err)
		os.Exit(1)
	}
}

func run() error {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "terraform-provider-") {
		return fakecloud.Serve()
	}
	out := flag.String("out", "", "the folder to fill")
	var s fakecloud.Settings
	flag.StringVar(&s.Schemas, "schemas", "", "the folder with the schemas of the real providers")
	flag.StringVar(&s.Dir, "cloud", "", "the folder where the cloud is kept; OUT/cloud where empty")
	flag.StringVar(&s.Hosts, "hosts", "", "the socket of who makes hosts; none where empty")
	flag.Parse()
	if *out == "" || s.Schemas == "" {
		return fmt.Errorf("say -out and -schemas")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	config, err := fakecloud.Mirror(*out, self, s)
	if err != nil {
		return err
	}
	fmt.Println("TF_CLI_CONFIG_FILE=" + config)
	return nil
}
