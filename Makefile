# `make` lists the targets. They run one after the other: the tests drive real
# sockets and some of them measure, which does not mix with a busy machine.
.NOTPARALLEL:
.DEFAULT_GOAL := help

GO        ?= go
FUZZTIME  ?= 10s
BENCHTIME ?= 100ms
PEERS     ?=
DISPATCH  ?=
FRAMING   ?=
FEATURES  ?=
ENDURE    ?= 30s
CONFORM   ?=
OLDKERNEL ?=

.PHONY: help build test race invariants fuzz lint bench examples stress endure known dispatch framing features peers nested conformance oldkernel reference chromium manifest check

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F'|' '{ printf "  %-11s %s\n", $$1, $$2 }'

build: ## build every package and program
	$(GO) build ./...

test: ## the tests
	$(GO) test -p 1 ./...

race: ## the tests under the race detector
	$(GO) test -race -p 1 -timeout 15m ./...

invariants: ## the tests with internal checks, poisoned memory and rare paths taken often
	$(GO) test -tags invariants -p 1 -timeout 15m ./...

# One target after the other, found by their declarations. There are some, so
# finding none means that the search is broken.
fuzz: ## each fuzz target for FUZZTIME (10s)
	@found=$$(grep -rEo --include='*_test.go' --exclude-dir=peers --exclude-dir=recorded '^func Fuzz[A-Za-z0-9_]+' . | \
		sed -E 's|^(.*)/[^/]*:func (.*)|\1 \2|' | sort); \
	test -n "$$found" || { echo 'fuzz: no fuzz target found' >&2; exit 1; }; \
	echo "$$found" | while read -r dir target; do \
		echo "$(GO) test -run '^$$' -fuzz ^$$target\$$ -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$dir"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$dir" < /dev/null || exit 1; \
	done

# linux/amd64 and linux/arm64 are the systems; elsewhere everything compiles and
# New says that the system is not supported.
lint: ## gofmt, vet for every system, the rules of internal/lint
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted by gofmt:"; echo "$$files"; exit 1; } >&2
	GOOS=linux GOARCH=amd64 $(GO) vet ./...
	GOOS=linux GOARCH=amd64 $(GO) vet -tags invariants,stress,reference,chromium,manifest ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	$(GO) test -count=1 ./internal/lint

bench: ## all benchmarks, BENCHTIME (100ms) each; short runs show allocations, not speed
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) ./...

examples: ## build and test the example programs, run the examples in the documentation
	$(GO) build -o /dev/null ./examples/...
	$(GO) test ./examples/...
	$(GO) test -run '^Example' ./...

stress: ## the tests with the long ones (build tag stress), up to 20 minutes
	$(GO) test -p 1 -tags stress -timeout 20m ./...

endure: ## a client at 20 000 calls/s whose server is killed every 200 ms, for ENDURE (30s) on each back end
	$(GO) test -count=1 -v -run '^TestCallsEndure' ./mux -endure $(ENDURE)

known: ## what the load generator says of a real server that stops for a second, against arithmetic; needs a quiet machine
	$(GO) test -count=1 -v -run '^TestKnownShareOfAStopForReal$$' ./bench -real

dispatch: ## compare how servers hand messages to workers, about 20 minutes; DISPATCH= takes flags
	cd bench/peers && $(GO) run ./cmd/dispatch $(DISPATCH)

framing: ## compare ways of cutting a stream into messages, about a minute; FRAMING= takes flags
	cd bench/peers && $(GO) run ./cmd/framing $(FRAMING)

features: ## what single features of io_uring give, half an hour; FEATURES= takes flags
	cd bench/peers && $(GO) run ./cmd/features $(FEATURES)

peers: ## compare with other echo servers, half an hour; PEERS= takes flags
	cd bench/peers && $(GO) run ./cmd/peers $(PEERS)

nested: ## build, vet and test the modules bench/peers, mux/muxprom, strparser/formats/recorded, examples/thrift
	cd bench/peers && $(GO) build ./... && $(GO) vet ./... && $(GO) test ./...
	cd mux/muxprom && $(GO) build ./... && $(GO) vet ./... && $(GO) test ./...
	cd strparser/formats/recorded && $(GO) build ./... && $(GO) vet ./... && $(GO) test ./...
	cd examples/thrift && $(GO) build -o /dev/null ./... && $(GO) vet ./... && $(GO) test ./...

# Needs QEMU, and apt to download the kernels; says what is missing.
conformance: ## the scripts of internal/conformance on real kernels in QEMU and on mux, 4 minutes; CONFORM= takes flags
	$(GO) run ./cmd/conformance $(CONFORM)

# As conformance. Tests that are left out are in cmd/oldkernel/leftout.go.
oldkernel: ## the tests of ring, mux and what is below them on Linux 6.1 and 6.12 in QEMU, 10 to 20 minutes; OLDKERNEL= takes flags
	$(GO) run ./cmd/oldkernel $(OLDKERNEL)

# Needs npm, and its registry.
reference: ## what kcmbench writes, read by HdrHistogram's JavaScript and a validator of JSON Schema
	npm install --silent --no-audit --no-fund --prefix .reference hdr-histogram-js@3.0.1 ajv@8.17.1
	NODE_PATH=$(CURDIR)/.reference/node_modules $(GO) test -count=1 -tags reference -run '^TestReference' ./cmd/kcmbench

# Needs chromium (Debian's package).
chromium: ## the page of kcmbench report, drawn by Chromium
	$(GO) test -count=1 -tags chromium -run '^TestChromium' ./bench/page

manifest: ## docs/kcmbench-job.yaml against the schema of Kubernetes, by kubeconform
	$(GO) test -count=1 -tags manifest -run '^TestManifest' ./cmd/kcmbench

check: test race invariants lint fuzz examples nested ## what CI runs
