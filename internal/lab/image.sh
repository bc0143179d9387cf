#!/bin/sh
# Makes the file system of a bare server in a new folder: SUITE FOLDER PASSWORD. What it installs is what Debian's own cloud
# images have and a server needs to be reached; nothing is there for pressenter's sake.
set -eu
suite=$1 root=$2
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

mirror=http://deb.debian.org/debian
packages=systemd,systemd-sysv,dbus,libpam-systemd,systemd-timesyncd,openssh-server,sudo,nftables,iproute2,iputils-ping
packages=$packages,netbase,procps,ca-certificates,cron,logrotate,kmod,e2fsprogs,less,unattended-upgrades
debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror"

cat >"$root/etc/apt/sources.list" <<END
deb $mirror $suite main
deb $mirror $suite-updates main
deb http://deb.debian.org/debian-security $suite-security main
END
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

# Every host is somebody else: keys and identity are made at its first boot.
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"

chroot "$root" useradd --create-home --shell /bin/bash admin
echo "admin:$3" | chroot "$root" chpasswd
