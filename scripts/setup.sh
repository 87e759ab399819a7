#!/bin/sh
# Installs what a fresh checkout needs, where it may; otherwise names it. Called by `npm run demo` and `npm test`.
#   setup.sh        to build and run: C compilers, static libraries, nft, libseccomp
#   setup.sh test   also what the tests drive: a real registry, skopeo, User-mode Linux, ...
set -eu
cd "$(dirname "$0")/.."
want=${1:-run}

fail() {
  echo "tinyrun setup: $1" >&2
  exit 1
}

missing_commands() {
  for command in "$@"; do command -v "$command" >/dev/null 2>&1 || printf '%s ' "$command"; done
}

run_as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo "$@"; else return 1; fi
}

# Debian and Ubuntu. Package names first, what proves them second (a file or a command).
apt_packages() {
  check() { [ -e "$2" ] || command -v "$2" >/dev/null 2>&1 || printf '%s ' "$1"; }
  multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo "$(uname -m)-linux-gnu")
  check gcc gcc
  check make make
  check libc6-dev /usr/include/stdio.h
  check linux-libc-dev /usr/include/linux/openat2.h
  check musl-tools musl-gcc
  check libzstd-dev "/usr/lib/$multiarch/libzstd.a"
  check libdeflate-dev "/usr/lib/$multiarch/libdeflate.a"
  check libssl-dev "/usr/lib/$multiarch/libcrypto.a"
  [ -e "/usr/lib/$multiarch/libseccomp.so.2" ] || [ -e "/lib/$multiarch/libseccomp.so.2" ] || printf 'libseccomp2 '
  check nftables /usr/sbin/nft
  check busybox-static /bin/busybox
  check ca-certificates /etc/ssl/certs/ca-certificates.crt
  [ "$want" = test ] || return 0
  check docker-registry docker-registry
  check skopeo skopeo
  check curl curl
  check iproute2 /usr/sbin/ip
  check user-mode-linux linux.uml
  check umoci umoci
  check procps ps
  check iptables /usr/sbin/iptables
  check bsdutils script
  check tmux tmux
  check zstd zstd
  check xz-utils xz
  check bzip2 bzip2
  check git git
  check clang clang
  check libclang-rt-dev "$(ls -d /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer* 2>/dev/null | head -1)"
  check zlib1g-dev /usr/include/zlib.h
}

packages() {
  if command -v apt-get >/dev/null 2>&1; then
    apt_packages
  elif command -v dnf >/dev/null 2>&1; then
    for p in gcc make glibc-static musl-gcc libzstd-static libdeflate-static openssl-devel libseccomp nftables busybox; do
      rpm -q "$p" >/dev/null 2>&1 || printf '%s ' "$p"
    done
  elif command -v apk >/dev/null 2>&1; then
    for p in gcc make musl-dev linux-headers zstd-static libdeflate-static openssl-libs-static openssl-dev libseccomp nftables busybox-static; do
      apk info -e "$p" >/dev/null 2>&1 || printf '%s ' "$p"
    done
  else
    lacking=$(missing_commands gcc make nft)
    [ -z "$lacking" ] || fail "no apt, dnf or apk here; install by hand: $lacking"
  fi
}

node_major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
[ "$node_major" -ge 20 ] || fail "Node 20 or newer is needed, found ${node_major}"

list=$(packages)
if [ -n "$list" ]; then
  echo "tinyrun setup: installing $list" >&2
  if command -v apt-get >/dev/null 2>&1; then
    run_as_root apt-get update -qq >/dev/null 2>&1 || true
    # shellcheck disable=SC2086
    run_as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $list >/dev/null ||
      fail "cannot install; as root: apt-get install $list"
  elif command -v dnf >/dev/null 2>&1; then
    # shellcheck disable=SC2086
    run_as_root dnf install -y -q $list >/dev/null || fail "cannot install; as root: dnf install $list"
  else
    # shellcheck disable=SC2086
    run_as_root apk add -q $list || fail "cannot install; as root: apk add $list"
  fi
fi

# node_modules from the lock file, again whenever it changed.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
