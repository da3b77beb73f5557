#!/usr/bin/env bash
# release.sh VERSION DIR builds the archives of a release into DIR, with their
# checksums, and the release.env that the launcher reads. The same source and
# the same Go give the same bytes.
set -euo pipefail

version=${1:?usage: release.sh VERSION DIR}
out=${2:?usage: release.sh VERSION DIR}
platforms=${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}

case $version in
*[!0-9A-Za-z.-]* | [!0-9]*)
  echo "release.sh: \"$version\" is not a version such as 1.2.3" >&2
  exit 2
  ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

: >"$out/checksums.txt"
{
  printf '# The release that this commit of the action runs, and the SHA-256 of its\n'
  printf '# archives; written by the release workflow.\n'
  printf 'version=%s\n' "$version"
} >"$out/release.env"
for platform in $platforms; do
  os=${platform%/*}
  arch=${platform#*/}
  name=reprise_${version}_${os}_${arch}.tar.gz
  echo "building $name"
  (
    cd "$root"
    GOOS=$os GOARCH=$arch CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false \
      -ldflags "-s -w -buildid= -X github.com/reprise-ci/reprise/internal/cli.release=v$version" \
      -o "$work/reprise" ./cmd/reprise
  )
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0755 -C "$work" -cf - reprise | gzip -9n >"$out/$name"
  sum=$(sha256sum "$out/$name" | cut -d ' ' -f 1)
  printf '%s  %s\n' "$sum" "$name" >>"$out/checksums.txt"
  printf 'sha256_%s_%s=%s\n' "$os" "$arch" "$sum" >>"$out/release.env"
done
