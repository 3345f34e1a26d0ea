#!/bin/sh
# Builds mkcomposefs and composefs-info 1.0.8 from Debian's source package (suite sid), once; prints the folder that holds them.
# They are what the tests and benchmarks compare with; Stratum itself never runs them.
set -eu
cache=${STRATUM_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stratum-tests}/composefs
[ -x "$cache/bin/mkcomposefs" ] && { echo "$cache/bin"; exit 0; }
log=$cache/build.log
mkdir -p "$cache/src" "$cache/bin" "$cache/apt/lists/partial"
(
  cd "$cache/src"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -q meson ninja-build pkg-config libssl-dev libfuse3-dev dpkg-dev
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" > "$cache/sid.list"
  options="-o Dir::Etc::sourcelist=$cache/sid.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$cache/apt/lists"
  apt-get $options update -q
  rm -rf composefs-*/
  apt-get $options source -q composefs
  cd composefs-*/
  meson setup build --default-library=static -Dman=disabled || meson setup build --default-library=static
  ninja -C build
  mkdir -p "$cache/libcomposefs" && cp -P build/libcomposefs/libcomposefs.so.1 build/libcomposefs/libcomposefs.so.1.?.? "$cache/libcomposefs/"
  cp build/tools/composefs-info build/tools/mount.composefs build/tools/mkcomposefs "$cache/bin/"
) > "$log" 2>&1 || { echo "building the oracle failed; the end of $log:" >&2; tail -n 20 "$log" >&2; exit 1; }
echo "$cache/bin"
