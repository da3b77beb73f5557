#!/usr/bin/env bash
# Shows a run of reprise on the shop, as local processes: a repository of its
# own whose main branch is this example, and a branch that breaks it in some
# ways. Prints the report and leaves it in OUT.
#
#   examples/shop/demo.sh REPRISE OUT [REGRESSION...]
set -euo pipefail

shop=$(cd "$(dirname "$0")" && pwd)
reprise=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 2
[ $# -gt 0 ] || set -- type-changed lost-call n-plus-one slower-25

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/examples" "$work/snapshots"
cp -R "$shop" "$work/examples/"
cp -R "$shop/../../snapshots/shop" "$work/snapshots/"
cd "$work"

# The user's own Git settings (signing, hooks, templates) have no say here.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
git init -q -b main
git config user.name demo
git config user.email demo@example.com
git add -A
git commit -qm "The shop as it is"
git switch -qc change
for name in "$@"; do
  echo "demo: applying regressions/$name.patch"
  git apply "examples/shop/regressions/$name.patch"
done
git commit -qam "The shop with regressions: $*"

# Exit code 1 means that a gate failed: what the demo is there to show.
code=0
"$reprise" run --config examples/shop/reprise.yaml --target process --base-ref main --output-dir "$out" || code=$?
echo
echo "demo: the report is in $out: report.html, report.md, report.json and junit.xml"
[ "$code" -le 1 ]
