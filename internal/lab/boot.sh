#!/bin/sh
# The first process of a host, in new namespaces: FOLDER IMAGE NAME ADDRESS GATEWAY DROPPED. It waits for a line, which says
# that eth0 is there, then makes the disk the root of all files and becomes systemd.
set -eu
folder=$1 image=$2 name=$3 address=$4 gateway=$5 dropped=$6
read -r _

hostname "$name"
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"

mount --make-rprivate /
disk=$folder/disk
mkdir -p "$disk" "$folder/root"
[ ! -e "$folder/disk.img" ] || mount -o loop,noatime "$folder/disk.img" "$disk"
mkdir -p "$disk/upper" "$disk/work"
mount -t overlay -o "lowerdir=$image,upperdir=$disk/upper,workdir=$disk/work" lab "$folder/root"
cd "$folder/root"
# The first boot: what makes this host itself.
[ ! -e "$folder/seed" ] || { cp -a "$folder/seed/." . && rm -r "$folder/seed"; }

mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro,nosuid,nodev,noexec proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw,nosuid,nodev,noexec proc/sys/net
[ ! -e proc/sysrq-trigger ] || mount --bind /dev/null proc/sysrq-trigger
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755,nosuid,size=16m dev dev
mkdir dev/pts dev/shm dev/mqueue dev/net
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5,nosuid,noexec devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
while read -r device major minor; do mknod -m 666 "dev/$device" c "$major" "$minor"; done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
net/tun 10 200
END

mount -t tmpfs -o mode=755,nosuid,nodev run run
# This kernel does not boot when the host does, so its own id of the boot would be the same for ever.
cat /proc/sys/kernel/random/uuid >run/boot_id
mount --bind -o ro run/boot_id proc/sys/kernel/random/boot_id

mkdir run/host run/old
: >run/host/notify
mount --bind "$folder/notify" run/host/notify
pivot_root . run/old
cd /
umount -l run/old
rmdir run/old
rm run/boot_id
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lab NOTIFY_SOCKET=/run/host/notify \
	setpriv --bounding-set="$dropped" /lib/systemd/systemd
