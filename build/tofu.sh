#!/bin/sh
# Builds OpenTofu from its Go module, once: some minutes and 115 MB, kept outside the checkout. Prints where it is.
# Tests of what drives tofu skip with a reason where it was not built. It runs with low priority: nobody waits for it.
set -eu
cd "$(dirname "$0")/../tofutool"

version=$(sed -n 's,.*github\.com/opentofu/opentofu v\([0-9.]*\).*,\1,p' go.mod)
tofu=${XDG_CACHE_HOME:-$HOME/.cache}/pressenter/tofu-$version/tofu
if [ ! -x "$tofu" ]; then
	echo "building OpenTofu $version: once, some minutes" >&2
	mkdir -p "$(dirname "$tofu")"
	# Without the -X it calls itself a development version and warns at every step.
	CGO_ENABLED=0 nice go build -trimpath -ldflags '-s -w -X github.com/opentofu/opentofu/version.dev=no' \
		-o "$tofu.$$" github.com/opentofu/opentofu/cmd/tofu
	mv "$tofu.$$" "$tofu"
fi
echo "$tofu"
