#!/bin/sh
# Prints the path of promtool, from Debian's package prometheus; only that program is unpacked, so that no server is installed and started.
set -eu
cache=${STRATUM_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stratum-tests}/promtool
[ -x "$cache/promtool" ] && { echo "$cache/promtool"; exit 0; }
mkdir -p "$cache"
unpacked=$(mktemp -d "$cache/unpacked.XXXXXX")
trap 'rm -rf "$unpacked"' EXIT
cd "$unpacked"
chmod 755 . # apt downloads as a user of its own where it may
{ apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } > "$cache/log" 2>&1 ||
  { echo "downloading Debian's prometheus failed:" >&2; tail -n 5 "$cache/log" >&2; exit 1; }
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
mv usr/bin/promtool "$cache/promtool"
echo "$cache/promtool"
