# reprise: `make help` lists what can be made. Nothing but Go is needed for
# demo, test, lint and build; e2e needs Docker, bench names the peers it lacks.
SHELL := /bin/bash
.DEFAULT_GOAL := help
GO ?= go
OUT ?= out
BIN := bin/reprise

# Without cgo everything links much faster; only the race detector needs it, and
# with it a C compiler. Where there is none, the tests run without.
export CGO_ENABLED := 0
RACE := $(if $(shell command -v cc),-race)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/reprise, static, as it runs in a cluster
	$(GO) build -trimpath -ldflags '-s -w' -o $(BIN) ./cmd/reprise

.PHONY: demo
demo: build ## replay the example against itself with some regressions; report in out/demo
	examples/shop/demo.sh $(BIN) $(OUT)/demo

.PHONY: test
test: ## all tests that need nothing but Go
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) ./...
	cd examples/shop && CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) ./...

.PHONY: conformance
conformance: ## the mock with the clients and checkers of others; names those that are not installed
	@for tool in curl node python3 h2load h2spec; do command -v $$tool >/dev/null || echo "$$tool is missing: not tried"; done
	REPRISE_PEERS=$(abspath $(OUT)/peers) $(GO) test -count=1 -v ./internal/conformance 2>&1 | grep -E '^ *(---|[a-z0-9_]+_test.go:|ok|FAIL|PASS)'; exit $${PIPESTATUS[0]}

.PHONY: e2e
e2e: build ## the tests on kind and under act; needs Docker
	REPRISE_E2E=1 REPRISE_BIN=$(abspath $(BIN)) $(GO) test -p 1 -count=1 -timeout 25m -v ./internal/e2e/... ./internal/cluster/... ./internal/deploy/... ./internal/agent/...

.PHONY: lint
lint: ## formatting, vet, staticcheck, workflows and shell scripts
	@unformatted=$$(gofmt -l cmd internal examples); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet ./...
	cd examples/shop && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(ACTIONLINT) -shellcheck= .github/workflows/*.yml
	@if command -v shellcheck >/dev/null; then shellcheck $$(git ls-files '*.sh') .ci/run; else echo "shellcheck is missing: shell scripts not checked"; fi
	$(GO) mod tidy -diff

.PHONY: bench
bench: export CGO_ENABLED = $(if $(RACE),1,0)
bench: ## speed beside its peers, as ratios; ONLY=mock for one room; writes out/bench.json
	@if command -v npm >/dev/null; then \
	  test -d $(OUT)/peers/node_modules/undici || npm install --silent --no-audit --no-fund --prefix $(OUT)/peers @mbtest/mountebank wiremock undici || echo "npm could not install mountebank and WireMock: not measured"; \
	else echo "npm is missing: mountebank and WireMock are not measured"; fi
	@for tool in wrk nginx taskset hoverfly; do PATH=$$PATH:/usr/sbin command -v $$tool >/dev/null || echo "$$tool is missing: the mock is measured with less beside it"; done
	@command -v gor >/dev/null || command -v goreplay >/dev/null || echo "gor is missing: recordings are replayed without GoReplay beside them"
	PATH=$$PATH:/usr/sbin REPRISE_PEERS=$(abspath $(OUT)/peers) REPRISE_BENCH_EXCHANGES=$${REPRISE_BENCH_EXCHANGES:-1000000} $(GO) run ./internal/bench -only '$(ONLY)' -out $(OUT)/bench.json

.PHONY: eval
eval: ## how often the judgement errs: judge the stored sessions, redraw docs/evaluation.md; writes out/eval.json
	$(GO) run ./internal/eval -out $(OUT)/eval.json

.PHONY: eval-measure
eval-measure: ## measure more sessions for TIME (1h), add them to the stored ones and redraw
	$(GO) build -o $(OUT)/eval ./internal/eval
	$(OUT)/eval -measure $(or $(TIME),1h) -place '$(or $(PLACE),shared cores)' -raw $(OUT)/eval-raw
	$(OUT)/eval -pack -raw $(OUT)/eval-raw
	$(OUT)/eval -out $(OUT)/eval.json

.PHONY: eval-short
eval-short: ## a guard in under four minutes: fails when the judgement must be broken
	$(GO) run ./internal/eval -short

.PHONY: eval-example
eval-example: ## the example broken in many ways, and against itself, judged by the whole of reprise; some twenty minutes
	$(GO) run ./internal/eval -example
	$(GO) run ./internal/eval -out $(OUT)/eval.json

.PHONY: eval-kind
eval-kind: build ## the example against itself on one cluster for TIME (30m), with and without probes; needs Docker
	REPRISE_E2E=1 REPRISE_SAME=$(or $(TIME),30m) REPRISE_BIN=$(abspath $(BIN)) $(GO) test -count=1 -timeout 0 -run '^TestSameImageOnKind$$' ./internal/e2e -v

.PHONY: golden
golden: ## rewrite the golden files of the tests
	$(GO) test ./internal/report/... -update

.PHONY: fuzz
fuzz: ## fuzz every reader for a short while (FUZZTIME=10s)
	@for pkg in $$($(GO) list ./internal/...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} $$pkg || exit 1; done; done

.PHONY: clean
clean: ## remove what was built
	rm -rf bin $(OUT)
