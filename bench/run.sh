#!/bin/sh
# Installs the peers, and runs the benchmark in a network and mount namespace of its own: the peers' bridges, firewall
# rules and mounts die with it.   usage:
#   bench/run.sh [start] [pull] [push] [save] [load] [memory] [many] [--rounds N]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "bench: needs root" >&2; exit 1; }
need=""
for pair in dockerd:docker.io podman:podman containerd:containerd runc:runc iptables:iptables docker-registry:docker-registry \
  ip:iproute2 nft:nftables mmdebstrap:mmdebstrap hyperfine:hyperfine igzip:isal curl:curl; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || need="$need ${pair#*:}"
done
if [ -n "$need" ]; then
  apt-get update -qq >/dev/null
  # The peers' own services must not start: the benchmark starts what it measures.
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; made=1; }
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $need >/dev/null
  [ -z "${made:-}" ] || rm -f /usr/sbin/policy-rc.d
fi
# The base of the pull benchmark's image is fetched here: the namespace below has no network.
case " $* " in
  *" pull "* | *" push "* | *" save "* | *" load "*) wanted=1 ;;
  *" start "* | *" memory "* | *" many "*) wanted="" ;;
  *) wanted=1 ;;
esac
if [ -n "$wanted" ]; then
  BENCH_DEBIAN=$(mktemp -t tinyrun-debian-XXXXXX.tar)
  trap 'rm -f "$BENCH_DEBIAN"' EXIT
  mmdebstrap -q --variant=minbase "$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")" "$BENCH_DEBIAN"
  export BENCH_DEBIAN
fi
unshare --net --mount --propagation private sh -c 'ip link set lo up && exec node "$0" "$@"' "$here/bench.mjs" "$@"
