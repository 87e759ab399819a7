#!/bin/sh
# The checks of guest.mjs under an ordinary kernel of a distribution, emulated: what User-mode Linux lacks (cpuset) and what
# an older kernel does otherwise. By hand, half a minute: needs qemu-system-x86, busybox-static, and
#   KERNEL  where a package was unpacked: dpkg-deb -x linux-image-*-cloud-amd64_*.deb KERNEL
#   STORE   a --root into which `busybox` was pulled
# usage: test/v2/qemu.sh KERNEL STORE
set -eu
kernel=$1 store=$2
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
files=$work/files
modules='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk overlay llc stp bridge veth'
mkdir -p "$files/bin" "$files/modules" "$files/proc" "$files/sys" "$files/run" "$files/tmp" "$files/dev" "$files/etc" "$files/app/node_modules"

cp /bin/busybox "$files/bin/"
for name in sh mount umount cp mkdir mknod cat insmod poweroff sleep ls ip switch_root; do ln -s busybox "$files/bin/$name"; done
for program in "$(readlink -f "$(command -v node)")" "$(command -v unshare)"; do
  echo "$program"
  ldd "$program" | grep -o '/[^ ]*'
done | sort -u | while read -r file; do
  mkdir -p "$files$(dirname "$file")"
  cp -L "$file" "$files$file"
done
cp -a "$top/bin" "$top/dist" "$top/package.json" "$top/test/v2/guest.mjs" "$files/app/"
cp -a "$top/node_modules/koffi" "$top/node_modules/@koromix" "$files/app/node_modules/"
cp /etc/passwd /etc/group "$files/etc/"
cp -a "$store" "$files/store"
for module in $modules; do
  find "$kernel/lib/modules" -name "$module.ko" -exec cp {} "$files/modules/" \;
done

echo "$modules" >"$files/modules/order"
truncate -s 1M "$work/disk"

# pivot_root refuses the first root of all, so the guest moves into a tmpfs before anything else.
cat >"$files/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mkdir /new && mount -t tmpfs -o size=1500m tmp /new
for entry in /*; do
  case $entry in /new | /proc) ;; *) cp -a "$entry" /new/ ;; esac
done
mkdir -p /new/proc
exec switch_root /new /second
INIT
cat >"$files/second" <<'INIT'
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run TINYRUN_V2_BINARY=/app/bin/tinyrun
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /run
mkdir -p /dev/pts /dev/shm /run/work && mount -t devpts pts /dev/pts
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
ip link set lo up
cp -a /store /run/work/root
cd /run && node /app/guest.mjs </dev/null
poweroff -f
INIT
chmod +x "$files/init" "$files/second"

(cd "$files" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd.gz"
timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 3G -nographic -no-reboot -nic none \
  -drive "file=$work/disk,if=virtio,format=raw" \
  -kernel "$(echo "$kernel"/boot/vmlinuz-*)" -initrd "$work/initrd.gz" \
  -append 'console=ttyS0 quiet panic=-1 rdinit=/init' </dev/null | grep -a '^RESULT' >"$work/results" || true
cat "$work/results"
if [ ! -s "$work/results" ] || grep -qv '"problem":""' "$work/results"; then exit 1; fi
