#!/bin/sh
# Says in words that Go is missing or too old, instead of letting a build fail in the middle.
set -eu
want=$(sed -n 's/^go \([0-9]*\.[0-9]*\).*/\1/p' go.mod)
if ! command -v go >/dev/null 2>&1; then
	echo "pressenter needs Go $want or newer, and there is no go here: install it from https://go.dev/dl" >&2
	exit 1
fi
have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
oldest=$(printf '%s\n%s\n' "$want" "$have" | sort -t. -k1,1n -k2,2n | head -n 1)
if [ "$oldest" != "$want" ]; then
	echo "pressenter needs Go $want or newer, this is $have: install a newer one from https://go.dev/dl" >&2
	exit 1
fi
