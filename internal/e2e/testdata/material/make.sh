#!/usr/bin/env bash
# Records the example with other people's tools, for TestMaterial: what they
# write is stored here as it is. Everything runs in a network of its own, in
# which the dependencies have the names that the shop knows them by.
#
# Needs Linux, root, Go and, all of them:
#   goreplay            go install github.com/buger/goreplay@v1.3.2 (and libpcap-dev)
#   tcpdump, mitmdump   Debian packages tcpdump and mitmproxy (8)
#   mb                  npm package mountebank
#   WIREMOCK_JAR        the jar in the npm package wiremock (and Java)
#   hoverfly            the program of Hoverfly 1.12
# go-vcr comes from its Go module.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${MATERIAL_BIN:-}" ]; then # outside: build, then go inside
  MATERIAL_BIN=$(mktemp -d)
  export MATERIAL_BIN
  trap 'rm -rf "$MATERIAL_BIN"' EXIT
  (cd "$here/../../../../examples/shop" && CGO_ENABLED=0 go build -o "$MATERIAL_BIN/" . ./dependencies/... ./traffic)
  mkdir "$MATERIAL_BIN/src" && cp "$here/vcr/main.go.txt" "$MATERIAL_BIN/src/main.go"
  (cd "$MATERIAL_BIN/src" && go mod init vcr && go get gopkg.in/dnaeon/go-vcr.v4@v4.0.7 && go mod tidy && go build -o "$MATERIAL_BIN/vcr" .)
  unshare --net --mount "$0"
  exit
fi

work=$MATERIAL_BIN
export HOME=$work # mitmproxy keeps its authority there
started=()
stop() { # down to a number of processes, the last one first
  while [ "${#started[@]}" -gt "${1:-0}" ]; do
    kill "${started[-1]}" 2>/dev/null || true
    wait "${started[-1]}" 2>/dev/null || true
    unset 'started[-1]'
  done
}
trap 'stop 0' EXIT
# start NAME ADDRESS COMMAND... waits until the command listens; - for one that
# does not listen.
start() {
  local name=$1 address=$2
  shift 2
  "$@" >"$work/$name.log" 2>&1 &
  started+=($!)
  for ((i = 0; i < 300; i++)); do
    if [ "$address" = - ] || (exec 3<>"/dev/tcp/${address%:*}/${address#*:}") 2>/dev/null; then return; fi
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  echo "make.sh: $name does not listen on $address:" >&2
  cat "$work/$name.log" >&2
  exit 1
}

ip link set lo up
names() { # INVENTORY PAYMENTS says where the names lead
  printf '%s\n' '127.0.0.1 localhost' "$1 inventory" "$2 api.payments.example" '127.0.0.4 shipping' >"$work/hosts"
}
names 127.0.0.2 127.0.0.3
mount --bind "$work/hosts" /etc/hosts
export INVENTORY_API_KEY=any PAYMENTS_API_KEY=any TOKEN_KEY=key-of-the-replay

# The dependencies behind whatever records them: inventory and payments are led
# through recorders, shipping (gRPC) is only listened to.
start inventory 127.0.1.2:8080 "$work/inventory" -listen 127.0.1.2:8080
start payments 127.0.1.3:443 "$work/payments" -listen 127.0.1.3:443 -tls-cert "$work/payments.pem"
start shipping 127.0.0.4:9090 "$work/shipping" -listen 127.0.0.4:9090
behind=${#started[@]}
visit() { "$work/traffic" -url "$1" -sessions 8 -parallel 1 -pause 1ms | tail -1; }

# One visit that five tools see: callers -> mitmdump -> shop -> mitmdump ->
# go-vcr -> dependencies, with GoReplay and tcpdump beside.
cd "$here"
rm -f ./*.gz cassette.yaml
start vcr 127.0.0.2:8080 "$work/vcr" "$here/cassette"
start out 127.0.0.1:3128 mitmdump -q -p 3128 --ssl-insecure -w out.flows
start shop 127.0.0.1:8081 env PORT=8081 UPSTREAM_TIMEOUT=30s HTTP_PROXY=http://127.0.0.1:3128 HTTPS_PROXY=http://127.0.0.1:3128 NO_PROXY=shipping \
  SSL_CERT_FILE="$work/.mitmproxy/mitmproxy-ca-cert.pem" "$work/shop"
start in 127.0.0.1:8000 mitmdump -q -p 8000 --mode reverse:http://127.0.0.1:8081 --set keep_host_header=true -w in.flows
start tcpdump - tcpdump -Z root -i lo -s 0 -U -w shop.pcap 'tcp port 8081 or tcp port 9090 or (host 127.0.0.2 and tcp port 8080)'
start goreplay - goreplay --input-raw 127.0.0.1:8081 --input-raw-track-response --output-file shop.gor --output-file-append
sleep 3
visit http://127.0.0.1:8000
sleep 6 # GoReplay writes what it has after 5 s
stop "$behind"
har=/usr/share/doc/mitmproxy/examples/contrib/har_dump.py # mitmproxy 8 writes HAR by the script that comes with it
for name in in out; do
  mitmdump -q -n -r "$name.flows" -s "$har" --set hardump="$here/$name.har"
done
mitmdump -q -n -r out.flows -w payments.flows '~d api.payments.example'
tcpdump -r shop.pcap -w shipping.pcap 'tcp port 9090' 2>/dev/null # gRPC, for those that do not read it
gzip -9n shop.gor shop.pcap shipping.pcap in.flows out.flows payments.flows in.har out.har

# Three mocks, one after the other, record what the shop asks of inventory.
names 127.0.0.2 127.0.1.3
through() { # ENVIRONMENT... runs the shop, and a visit
  start shop 127.0.0.1:8081 env PORT=8081 UPSTREAM_TIMEOUT=30s SSL_CERT_FILE="$work/payments.pem" "$@" "$work/shop"
  visit http://127.0.0.1:8081
}

rm -rf wiremock
start wiremock 127.0.0.2:8080 java -jar "$WIREMOCK_JAR" --bind-address 127.0.0.2 --port 8080 --root-dir "$work/wiremock" --disable-banner
curl -sf -X POST http://127.0.0.2:8080/__admin/recordings/start -d '{"targetBaseUrl":"http://127.0.1.2:8080","repeatsAsScenarios":false}' >/dev/null
through
curl -sf -X POST http://127.0.0.2:8080/__admin/recordings/stop >/dev/null
mkdir wiremock && cp -r "$work/wiremock/mappings" wiremock/
stop "$behind"

rm -f mountebank.json
start mountebank 127.0.0.1:2525 mb start --port 2525 --host 127.0.0.1 --nologfile --pidfile "$work/mb.own"
curl -sf http://127.0.0.1:2525/imposters -H 'Content-Type: application/json' -d '{"port":8080,"host":"127.0.0.2","protocol":"http","name":"inventory",
  "stubs":[{"responses":[{"proxy":{"to":"http://127.0.1.2:8080","mode":"proxyOnce","predicateGenerators":[{"matches":{"method":true,"path":true,"query":true}}]}}]}]}' >/dev/null
through
mb save --port 2525 --host 127.0.0.1 --savefile mountebank.json --removeProxies --nologfile >/dev/null
stop "$behind"

rm -f hoverfly.json
names 127.0.1.2 127.0.1.3 # it is a proxy on the way
start hoverfly 127.0.0.1:8500 hoverfly -capture -listen-on-host 127.0.0.1 -pp 8500 -ap 8888
through HTTP_PROXY=http://127.0.0.1:8500
curl -sf http://127.0.0.1:8888/api/v2/simulation >hoverfly.json
