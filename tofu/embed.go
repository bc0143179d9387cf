// Package tofu holds the OpenTofu configuration of every cloud, and knows what each cloud is like.
//
// The configuration is written by hand and embedded: modules makes machines, sweep finds what carries a deployment's id, and
// preflight asks whether what is wanted can be had. All modules take the same variables and give the same output. Nothing
// is templated: [Root], [Sweep] and [Preflight] add a small main.tf.json that calls the modules, and their variables as
// terraform.tfvars.json. The same files are what people get who run OpenTofu or Terraform themselves.
//
// No secret is in any of it. Credentials come from the environment, under the names in [Cloud.Environment].
//
// Providers are pinned to one version each in versions.tf. There are no lock files here: one holds checksums that only a
// provider's registry can give, for every platform. Whoever runs init gets one and keeps it beside main.tf.json.
package tofu

import (
	"embed"
	"io/fs"
)

//go:embed all:modules all:sweep all:preflight
var embedded embed.FS

// Modules is the tree of modules, one folder for each cloud.
func Modules() fs.FS {
	sub, err := fs.Sub(embedded, "modules")
	if err != nil {
		panic(err) // the name is a constant
	}
	return sub
}
