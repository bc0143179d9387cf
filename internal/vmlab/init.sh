#!/bin/busybox sh
# The first process of a test machine. ttyS0 is the kernel's, ttyS1 takes the job's output, ttyS2 what it came to.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp LANG=C.UTF-8
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
ln -sf /usr/local/bin/sh /bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /dev/net /dev/shm /dev/pts /run/netns
mount -t devpts pts /dev/pts
for tty in 1 2; do stty -F /dev/ttyS$tty raw 115200; done
exec 3>/dev/ttyS2
while read -r module; do
	insmod "/modules/$module.ko" || echo "refused $module" >&3
done </modules.order
rm -rf /modules
[ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up
echo "ready" >&3
cd /tmp
/job </dev/null >/dev/ttyS1 2>&1 3>&-
echo "exit $?" >&3
# What the job wrote must be out before the machine ends: changing a terminal waits for that.
stty -F /dev/ttyS1 raw
exec 3>&-
reboot -f
