#!/bin/sh
# Makes the recordings in this folder with the tools themselves. It needs Go, curl
# and a right to capture on loopback; a tool that is not there is passed over:
#   goreplay   go install github.com/buger/goreplay@v1.3.2 (and libpcap-dev)
#   tcpdump, mitmdump   Debian packages tcpdump and mitmproxy
#   mb         npm package mountebank
#   hoverfly   the program of Hoverfly 1.12
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'kill $(cat "$bin"/*.pid 2>/dev/null) 2>/dev/null || true; rm -rf "$bin"' EXIT
go build -o "$bin/make" ./make
"$bin/make" serve 127.0.0.1:18080 & echo $! > "$bin/serve.pid"
sleep 1

if command -v goreplay >/dev/null; then
	rm -f goreplay*.gor
	goreplay --input-raw 127.0.0.1:18080 --input-raw-track-response --output-file goreplay.gor --output-file-append >"$bin/gor.log" 2>&1 & pid=$!
	sleep 2
	"$bin/make" call http://127.0.0.1:18080 > goreplay.txt
	sleep 6
	kill -INT $pid; wait $pid || true
fi
if command -v tcpdump >/dev/null; then
	tcpdump -i lo -w tcpdump.pcap -s 0 -U tcp port 18080 2>"$bin/tcpdump.log" & pid=$!
	sleep 2
	"$bin/make" call http://127.0.0.1:18080 > tcpdump.txt
	sleep 2
	kill -INT $pid; wait $pid || true
fi
if command -v mitmdump >/dev/null; then
	rm -f mitmdump.flows
	mitmdump -q -p 18081 --mode reverse:http://127.0.0.1:18080 -w mitmdump.flows >"$bin/mitm.log" 2>&1 & pid=$!
	sleep 6
	"$bin/make" call http://127.0.0.1:18081 > mitmdump.txt
	sleep 1
	kill -INT $pid; wait $pid || true
	# mitmproxy 8 writes HAR by the script that comes with it
	har=/usr/share/doc/mitmproxy/examples/contrib/har_dump.py
	mitmdump -q -n -r mitmdump.flows -s "$har" --set hardump="$PWD/mitmdump.har" >>"$bin/mitm.log" 2>&1
fi

# go-vcr and the messages of Envoy come as Go modules, which the project itself
# does not need.
here=$PWD
run() { # program module version args...
	program=$1 module=$2 version=$3
	shift 3
	mkdir -p "$bin/$program" && cp "$program.go.txt" "$bin/$program/main.go"
	(cd "$bin/$program" && go mod init "$program" && go get "$module@$version" && go mod tidy && go run . "$@") >"$bin/$program.log" 2>&1
}
rm -f govcr.yaml
run makevcr gopkg.in/dnaeon/go-vcr.v4 v4.0.7 http://127.0.0.1:18080 "$here/govcr"
run maketap github.com/envoyproxy/go-control-plane/envoy v1.40.0 "$here/tap"

# WireMock is on npm ("npm install wiremock" holds the jar; it needs Java).
if [ -n "${WIREMOCK_JAR:-}" ]; then
	rm -rf wiremock
	java -jar "$WIREMOCK_JAR" --port 18082 --root-dir "$bin/wiremock" --disable-banner >"$bin/wiremock.log" 2>&1 & echo $! > "$bin/wiremock.pid"
	sleep 15
	curl -sf -X POST http://127.0.0.1:18082/__admin/recordings/start -d '{"targetBaseUrl":"http://127.0.0.1:18080","captureHeaders":{"Content-Type":{}}}' >/dev/null
	"$bin/make" call http://127.0.0.1:18082 >/dev/null
	curl -sf -X POST http://127.0.0.1:18082/__admin/recordings/stop > "$bin/recorded.json"
	mkdir -p wiremock && cp -r "$bin/wiremock/mappings" wiremock/
	[ ! -d "$bin/wiremock/__files" ] || cp -r "$bin/wiremock/__files" wiremock/
fi

# mountebank records as a proxy and saves what it would answer.
if command -v mb >/dev/null; then
	mb start --port 18083 --host 127.0.0.1 --nologfile --pidfile "$bin/mb.own" >"$bin/mb.log" 2>&1 & echo $! > "$bin/mb.pid"
	sleep 5
	curl -sf http://127.0.0.1:18083/imposters -H 'Content-Type: application/json' -d '{"port":18084,"host":"127.0.0.1","protocol":"http","name":"made.example","stubs":[{"responses":[{"proxy":{"to":"http://127.0.0.1:18080","mode":"proxyOnce","addWaitBehavior":true,"predicateGenerators":[{"matches":{"method":true,"path":true,"query":true,"body":true}}]}}]}]}' >/dev/null
	"$bin/make" call http://127.0.0.1:18084 >/dev/null
	mb save --port 18083 --host 127.0.0.1 --savefile mountebank.json --removeProxies --nologfile >/dev/null
fi

# Hoverfly captures as a forward proxy.
if command -v hoverfly >/dev/null; then
	hoverfly -capture -listen-on-host 127.0.0.1 -pp 18085 -ap 18086 >"$bin/hoverfly.log" 2>&1 & echo $! > "$bin/hoverfly.pid"
	sleep 3
	"$bin/make" call http://127.0.0.1:18080 http://127.0.0.1:18085 >/dev/null
	curl -sf http://127.0.0.1:18086/api/v2/simulation > hoverfly.json
fi
