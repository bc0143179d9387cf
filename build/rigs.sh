#!/bin/sh
# Installs what tests and benchmarks use beside Go, where that can be done: root on Debian or Ubuntu. Tests skip with a
# reason what is not there.
set -eu

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	missing=
	for pair in nft:nftables ip:iproute2 wg:wireguard-tools tincd:tinc iperf3:iperf3 ping:iputils-ping \
		qemu-system-x86_64:qemu-system-x86 \
		debootstrap:debootstrap ssh:openssh-client sshd:openssh-server mkfs.ext4:e2fsprogs nsenter:util-linux; do
		command=${pair%%:*} package=${pair#*:}
		[ -z "$package" ] || command -v "$command" >/dev/null || missing="$missing $package"
	done
	[ -x /bin/busybox ] && /bin/busybox true 2>/dev/null || missing="$missing busybox-static"
	if [ -n "$missing" ]; then
		echo "installing$missing"
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq
		# shellcheck disable=SC2086
		apt-get install -y -qq --no-install-recommends $missing >/dev/null
	fi
else
	echo "not root on Debian: nothing is installed"
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/pressenter/vpncloud-2.3.0
if [ ! -x "$cache/bin/vpncloud" ] && command -v cargo >/dev/null; then
	echo "building vpncloud 2.3.0: once, some minutes"
	# Static: the servers of a lab may have an older C library than this computer.
	RUSTFLAGS='-C target-feature=+crt-static' cargo install vpncloud --version 2.3.0 --locked --quiet --root "$cache" \
		--target "$(rustc -vV | sed -n 's/^host: //p')" || echo "vpncloud was not built: its tests skip"
fi
