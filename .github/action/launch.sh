#!/usr/bin/env bash
# Finds the reprise binary for the action and becomes it:
#
#   launch.sh run|comment|gate    with the inputs in the environment
#   launch.sh cleanup             after a run that did not come to its own end
#
# In this order: the input binary, the tool cache, the release whose checksum is
# committed beside this file, a build from source. Runs with bash 3.2.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
release=${REPRISE_RELEASE_FILE:-$here/release.env}
temp=${RUNNER_TEMP:-${TMPDIR:-/tmp}}
cache=${RUNNER_TOOL_CACHE:-$temp}
verb=${1:-run}

say() { printf 'reprise: %s\n' "$*"; }
fail() {
  # The outputs of the step must say so too.
  [ -z "${GITHUB_OUTPUT:-}" ] || printf 'verdict=error\n' >>"$GITHUB_OUTPUT"
  printf '::error title=reprise::%s\n' "$*"
  exit 2
}

case $verb in
run | comment | gate | cleanup) ;;
*) fail "mode is \"$(printf '%s' "$verb" | tr -cd 'a-zA-Z0-9_-')\"; it must be run, comment or gate" ;;
esac

# A run that set its outputs has also torn down what it made, or kept it on
# purpose.
if [ "$verb" = cleanup ] && { [ -n "${REPRISE_VERDICT:-}" ] || [ "${REPRISE_MODE:-run}" != run ]; }; then
  exit 0
fi

# setting NAME prints a value of release.env, or nothing.
setting() { [ ! -f "$release" ] || sed -n "s/^$1=//p" "$release" | tr -d '\r' | head -n 1; }

# RUNNER_ARCH is not what it says under act, so the machine is asked.
platform() {
  local os arch
  case $(uname -s) in
  Linux) os=linux ;;
  Darwin) os=darwin ;;
  *) return 1 ;;
  esac
  case $(uname -m) in
  x86_64 | amd64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) return 1 ;;
  esac
  printf '%s %s\n' "$os" "$arch"
}

sha256() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum "$1" | cut -d ' ' -f 1
  elif command -v shasum >/dev/null 2>&1; then
    shasum -a 256 "$1" | cut -d ' ' -f 1
  else
    openssl dgst -sha256 "$1" | sed 's/^.*= *//'
  fi
}

bin=

from_input() {
  [ -n "${REPRISE_BINARY:-}" ] || return 1
  [ -x "$REPRISE_BINARY" ] || fail "input binary: $REPRISE_BINARY is not an executable file"
  bin=$REPRISE_BINARY
  say "using the binary of the input: $bin"
}

from_cache() {
  [ -n "$version" ] || return 1
  local dir=$cache/reprise/$version/$os-$arch
  [ -f "$dir/.complete" ] && [ -x "$dir/reprise" ] || return 1
  bin=$dir/reprise
  say "using $version from the tool cache"
}

from_release() {
  local sum base url dir got
  [ -n "$version" ] || return 1
  sum=$(setting "sha256_${os}_${arch}")
  [ -n "$sum" ] || return 1
  base=${REPRISE_DOWNLOAD_URL:-https://github.com/reprise-ci/reprise/releases/download}
  url=$base/v$version/reprise_${version}_${os}_${arch}.tar.gz
  dir=$cache/reprise/$version/$os-$arch
  if ! command -v curl >/dev/null 2>&1; then
    say "cannot download the release: curl is missing"
    return 1
  fi
  mkdir -p "$dir" && work=$(mktemp -d "$dir/download.XXXXXX") || return 1
  trap 'rm -rf "$work"' EXIT
  # What guards the download is the checksum in this commit, not the server.
  local proto='=https'
  [ -z "${REPRISE_DOWNLOAD_URL:-}" ] || proto='=https,http,file'
  if ! curl --fail --silent --show-error --location --retry 3 --retry-connrefused --max-time 300 \
    --proto "$proto" --output "$work/archive" "$url"; then
    say "cannot download $url"
    return 1
  fi
  got=$(sha256 "$work/archive")
  [ "$got" = "$sum" ] || fail "$url has the checksum $got, this commit of the action expects $sum"
  tar -xzf "$work/archive" -C "$work" reprise || fail "$url holds no file reprise"
  chmod 0755 "$work/reprise"
  mv -f "$work/reprise" "$dir/reprise"
  : >"$dir/.complete"
  bin=$dir/reprise
  rm -rf "$work"
  trap - EXIT
  say "using $version, downloaded and verified"
}

from_source() {
  command -v go >/dev/null 2>&1 && [ -f "$root/go.mod" ] || return 1
  local out=$temp/reprise-build/reprise
  mkdir -p "$(dirname "$out")"
  say "building from source"
  # Neither a workspace nor flags of the caller's project belong in this build.
  if ! (cd "$root" && GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 \
    go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$out" ./cmd/reprise); then
    fail "go build of reprise failed"
  fi
  bin=$out
}

built() {
  bin=$temp/reprise-build/reprise
  [ -x "$bin" ]
}

version=$(setting version)
if found=$(platform); then
  os=${found% *}
  arch=${found#* }
else
  version='' # no release for this machine
  os=
  arch=
fi

if [ "$verb" = cleanup ]; then
  # What was never started has left nothing behind.
  from_input || from_cache || built || exit 0
else
  from_input || from_cache || from_release || from_source ||
    fail "found no reprise for $(uname -s) $(uname -m): set up Go before this step, or give the input binary or download-url"
fi

# From here on this process is reprise, so that a signal for the step is a
# signal for it.
exec "$bin" "$verb"
