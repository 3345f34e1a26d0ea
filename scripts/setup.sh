#!/bin/sh
# Prepares a checkout: Node 24 and the dependencies, as locked; with --test or --bench the Debian packages that those need too.
# Does nothing that is done already. Needs root only for the packages.
set -eu
cd "$(dirname "$0")/.."

stamp=node_modules/.setup-done
if [ ! -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  echo "installing the dependencies, as locked" >&2
  # Not "npm ci": it refuses a lock file without the optional packages of platforms that some registries do not carry.
  npm install --no-save --no-progress --loglevel=error >&2
  cp package-lock.json "$stamp"
fi
version=$(node_modules/.bin/node -v)
case $version in
  v24.*) ;;
  *) echo "node_modules/.bin/node is $version; Node 24 is needed" >&2; exit 1 ;;
esac

packages() {
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="${missing:-} $package"
  done
}
case ${1:-} in
  --test) packages acl attr btrfs-progs e2fsprogs fsverity python3 python3-jsonschema skopeo strace tar util-linux xfsprogs zstd ;;
  --cluster) packages buildah busybox-static containerd containernetworking-plugins debootstrap iproute2 iptables lua5.1 openssl runc tini util-linux ;;
  --bench) packages borgbackup git ostree restic tar time util-linux zstd ;;
esac
if [ -n "${missing:-}" ]; then
  echo "installing$missing (apt-get)" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q > /dev/null
  # shellcheck disable=SC2086
  apt-get install -y -q --no-install-recommends $missing > /dev/null
fi
if [ "${1:-}" = --test ] || [ "${1:-}" = --bench ]; then
  echo "building the oracle (mkcomposefs) if it is missing" >&2
  sh scripts/oracle.sh > /dev/null
fi
if [ "${1:-}" = --test ]; then
  sh scripts/promtool.sh > /dev/null
fi
