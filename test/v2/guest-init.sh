#!/bin/sh
# The first process of the User-mode Linux guest: a cgroup v2 host made of the real host's own files (hostfs).
# usage (from the kernel's command line): guest-init.sh, with TINYRUN_V2_DIR naming the shared directory
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
mkdir -p /run/work /run/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in fs/overlayfs/overlay net/llc/llc net/802/stp net/bridge/bridge drivers/net/veth; do
  /bin/busybox insmod "$(echo /usr/lib/uml/modules/*/kernel/$module.ko)" 2>/dev/null
done
ip link set lo up 2>/dev/null
cd "$TINYRUN_V2_DIR" || /bin/busybox halt -f
cp -a "$TINYRUN_V2_DIR/root" /run/work/root
node "$TINYRUN_V2_GUEST" </dev/null
sync
/bin/busybox halt -f
