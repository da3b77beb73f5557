#!/usr/bin/env bash
# Records snapshots/shop anew: builds everything, starts the stand-ins of the
# dependencies, the recorder and the shop, lets the traffic driver run, and
# stops. It needs Go and nothing else, and takes some seconds once all is built.
#
#   examples/shop/record.sh [SNAPSHOT]
#
# SHOP_PORTS is the first of six ports that are free (default 18080). REPRISE
# names a binary of reprise to be used instead of building one.
set -euo pipefail

shop=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$shop/../.." && pwd)
snapshot=${1:-$root/snapshots/shop}
port=${SHOP_PORTS:-18080}
at() { echo "127.0.0.1:$((port + $1))"; }

work=$(mktemp -d)
started=()
stop() { # the last one first, so that nobody loses what it depends on
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null || true
    wait "${started[i]}" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap stop EXIT

# start NAME COMMAND... runs a command in the background, with a log.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  started+=($!)
}

# await NAME PORT waits until the last one started listens, or shows why not.
await() {
  for ((i = 0; i < 100; i++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then return; fi
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "record.sh: $1 does not listen on port $2:" >&2
  cat "$work/$1.log" >&2
  exit 1
}

secret() { od -An -tx1 -N16 /dev/urandom | tr -d ' \n'; }

echo "building"
if [ -n "${REPRISE:-}" ]; then
  ln -s "$(realpath "$REPRISE")" "$work/reprise"
else
  (cd "$root" && CGO_ENABLED=0 go build -o "$work/reprise" ./cmd/reprise)
fi
(cd "$shop" && CGO_ENABLED=0 go build -o "$work/" . ./dependencies/... ./traffic)

# Secrets as in production: drawn, and found nowhere in the snapshot.
INVENTORY_API_KEY="inv_$(secret)"
PAYMENTS_API_KEY="sk_live_$(secret)"
TOKEN_KEY=$(secret)
export INVENTORY_API_KEY PAYMENTS_API_KEY TOKEN_KEY

echo "starting"
start inventory "$work/inventory" -listen "$(at 1)"
await inventory $((port + 1))
start payments "$work/payments" -listen "$(at 2)" -tls-cert "$work/payments.pem"
await payments $((port + 2))
start shipping "$work/shipping" -listen "$(at 5)"
await shipping $((port + 5))
start recorder "$work/reprise" record --config "$shop/reprise.yaml" \
  --snapshot "$snapshot" --replace --lossless \
  --listen "$(at 0)" --upstream "$(at 4)" --outbound "$(at 3)" --ca-out "$work/ca.pem" \
  --resolve "inventory:8080=$(at 1)" --resolve "shipping:9090=$(at 5)" \
  --resolve "api.payments.example=$(at 2)" --trust "$work/payments.pem"
recorder=$!
await recorder $((port + 3))
start shop env PORT=$((port + 4)) HTTP_PROXY="http://$(at 3)" HTTPS_PROXY="http://$(at 3)" NO_PROXY= \
  SSL_CERT_FILE="$work/ca.pem" "$work/shop"
await shop $((port + 4))

echo "recording"
"$work/traffic" -url "http://$(at 0)"

kill -INT "$recorder"
if ! wait "$recorder"; then
  cat "$work/recorder.log" >&2
  exit 1
fi
tail -n 1 "$work/recorder.log"

# A second look, by what is known here and to no detector.
if grep -rlF -e "$INVENTORY_API_KEY" -e "$PAYMENTS_API_KEY" -e "$TOKEN_KEY" "$snapshot"; then
  echo "record.sh: the files above hold a secret" >&2
  exit 1
fi
