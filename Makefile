# Everything here works on a machine with Go, gcc, git and make. What the tests
# need beyond that is installed by .ci/setup where it can be; where it cannot, the
# tests concerned say so and skip, or fail when CI=true.

GO       ?= go
FUZZTIME ?= 20s
RESULTS  ?= bin/test.json
# What the program says of itself: the latest tag, and the commit if it is not that tag's.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
BINARY   ?= bin/otpbridge
# Gin's MessagePack, which nothing here uses, is a tenth of the program and the slowest to compile. Without paths, as
# releases are built, the compiler's cache serves all targets.
export GOFLAGS := $(GOFLAGS) -tags=nomsgpack -trimpath
# What make release makes, and of what. A bill of materials is read from a program, so it lists what is in it.
RELEASE   ?= bin/release
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
PROGRAMS  ?= server testclient
SBOM      ?= $(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin

# The race detector watches our code. SQLite, translated from C, has no goroutines of its own, and a
# connection is used by one at a time; watching it as well takes twelve times as long and finds nothing.
RACE = -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'

.DEFAULT_GOAL := help
.PHONY: help run build screenshots release image install install-files setup test lint house bench bench-large timing faults fuzz cover

help: ## print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

run: ## build the server and start it as a sandbox on an embedded database
	$(GO) build -o bin/otpbridge ./server
	@exec ./bin/otpbridge

build: ## build bin/otpbridge for production, as the Dockerfile does
	CGO_ENABLED=0 $(GO) build -tags=nomsgpack -trimpath -buildvcs=false -ldflags="-s -w -X main.stamped=$(VERSION)" -o bin/otpbridge ./server

screenshots: ## take pictures of every page of the console, in both themes and widths, into bin/screenshots, and those of the documentation
	@mkdir -p bin/screenshots
	SCREENSHOTS=$(CURDIR)/bin/screenshots $(GO) test ./server -count=1 -timeout 40m -run TestConsole_EveryPage
	cp bin/screenshots/console-*.png server/doc/images

# The same commit and the same Go give the same bytes, so variables that change what a compiler makes are set here.
release: ## build both programs for every platform, with checksums and bills of materials, in bin/release
	@rm -rf $(RELEASE) && mkdir -p $(RELEASE)
	@set -e; for platform in $(PLATFORMS); do for program in $(PROGRAMS); do \
		os=$${platform%/*}; arch=$${platform#*/}; ending=; name=otpbridge; \
		[ $$os = windows ] && ending=.exe; [ $$program = server ] || name=otpbridge-$$program; \
		file=$(RELEASE)/$$name-$(VERSION)-$$os-$$arch; \
		echo "$$file$$ending"; \
		env GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 GOFLAGS=-tags=nomsgpack GOEXPERIMENT= GOAMD64=v1 GOARM64=v8.0 $(GO) build -trimpath \
			-buildvcs=false -ldflags="-s -w -X main.stamped=$(VERSION)" -o $$file$$ending ./$$program; \
		$(SBOM) -json -std -noserial -notimestamp -version $(VERSION) -output $$file.cdx.json $$file$$ending; \
	done; done
	@cd $(RELEASE) && sha256sum otpbridge-* > SHA256SUMS

image: ## build the container image otpbridge from the Dockerfile
	docker build --build-arg VERSION=$(VERSION) --tag otpbridge .

# DESTDIR puts all of it below another root.
install: install-files ## install what make build made with its pages, systemd unit, user and folders (as root)
	systemd-sysusers --root=$(DESTDIR)/ otpbridge.conf
	systemd-tmpfiles --root=$(DESTDIR)/ --create otpbridge.conf

# Where the unit looks for them.
install-files: ## install the files alone, as packagers want
	install -D -m 0755 $(BINARY) $(DESTDIR)/usr/local/bin/otpbridge
	install -d -m 0755 $(DESTDIR)/usr/local/share/doc/otpbridge
	install -m 0644 README.md SECURITY.md server/doc/*.md server/doc/alerts.yml server/doc/nginx.conf \
		$(DESTDIR)/usr/local/share/doc/otpbridge
	install -D -m 0644 server/doc/otpbridge.service $(DESTDIR)/etc/systemd/system/otpbridge.service
	install -D -m 0644 server/doc/otpbridge.sysusers $(DESTDIR)/usr/lib/sysusers.d/otpbridge.conf
	install -D -m 0644 server/doc/otpbridge.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/otpbridge.conf

# The packages whose tests take longest, first: go test begins them in the order in which they are named. It runs one
# more at once than there are processors, because tests wait for disks and clocks.
LONGEST = ./server ./server/engine ./sql ./testclient/conform
AT_ONCE = $$(($$(getconf _NPROCESSORS_ONLN) + 1))

# Compilers, linters and tests take a tenth less of a processor if garbage is collected later, or below a limit not at
# all.
test: export GOGC = 400
lint: export GOGC = off
lint: export GOMEMLIMIT = 2GiB

# Lint vets everything; go test would vet again, with all that is imported. Lint runs beside the tests, because each
# leaves a processor idle at times. SELF: make -n would run a recipe that names the variable MAKE.
SELF = $(MAKE)
test: ## install what the tests need, then lint and run every test under the race detector
	@.ci/setup
	@mkdir -p $(dir $(RESULTS))
	@$(SELF) --no-print-directory lint & lint=$$!; trap "kill $$lint 2>/dev/null" EXIT; \
	$(GO) tool gotestsum --format pkgname-and-test-fails --jsonfile $(RESULTS) -- $(RACE) -vet=off -timeout 45m -p $(AT_ONCE) \
		$(LONGEST) ./... || failed=1; \
	wait $$lint || { failed=1; echo "lint found something; see above."; }; trap - EXIT; \
	echo "The slowest tests:"; $(GO) tool gotestsum tool slowest --num 10 --threshold 1s --jsonfile $(RESULTS); \
	exit $${failed:-0}

# Without cgo, as make build compiles: the compiler's cache serves both.
lint: ## check formatting, vet, staticcheck and the module files
	@unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then \
		echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; \
	fi
	CGO_ENABLED=0 $(GO) vet ./...
	CGO_ENABLED=0 $(GO) tool staticcheck ./...
	$(GO) mod verify
	$(GO) mod tidy -diff

# REF is a commit to measure beside this tree: make house REF=v0.1.0
house: ## print how much there is to read, and where it is hardest
	@if [ -n "$(REF)" ]; then \
		tree=$$(mktemp -d) && trap 'rm -rf "$$tree"' EXIT && git archive $(REF) | tar -x -C "$$tree" && \
		echo "at $(REF):" && HOUSE=$$tree $(GO) test -count=1 -v -run '^TestHouse_Table$$' ./server; \
	fi
	@echo "here:"; $(GO) test -count=1 -v -run '^TestHouse_Table$$' ./server

# Whatever the first run finds, the second is made too.
bench: ## compare SQLite and MariaDB with a bare HTTP server, then run the hot paths' benchmarks
	@failed=0; \
	BENCH=1 $(GO) test -count=1 -v -timeout 10m -run '^TestBench$$|CeilingOfAllocations$$' ./server || failed=1; \
	$(GO) test -run Allocate -bench . -benchmem ./crypto ./testclient/load ./server/servlet ./server/engine ./sql ./server \
		|| failed=1; \
	exit $$failed

bench-large: ## measure what a million events and a hundred thousand live challenges cost, and how long pages take then
	BENCH=1 $(GO) test -count=1 -v -timeout 40m -run '^TestBenchLarge$$|^TestBenchPages$$' ./server

# Statements about time hold for a normal binary, not under the race detector, and while nothing is compiled beside it.
timing: ## check that answers which must not differ by time do not, and how codes are distributed
	FULL=1 $(GO) test -p 1 -count=1 -v -timeout 30m -run 'Timing|Distribution' ./...

faults: ## run races, kills and faults with the full number of rounds
	FULL=1 $(GO) test $(RACE) -count=1 -v -timeout 60m -run 'Race|Kill|Fault' ./...

# go test fuzzes one function of one package at a time. A package that does not
# build fails here and is not taken for one without fuzzers.
fuzz: ## run every fuzzer for FUZZTIME each (default 20s)
	@set -e; ran=0; \
	packages=$$($(GO) list ./...); \
	for package in $$packages; do \
		listed=$$($(GO) test -list '^Fuzz' $$package); \
		for name in $$(echo "$$listed" | grep '^Fuzz' || true); do \
			echo "== $$package $$name for $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$package; \
			ran=$$((ran + 1)); \
		done; \
	done; \
	echo "$$ran fuzzers ran, $(FUZZTIME) each"; \
	[ $$ran -gt 0 ]

cover: ## write cover.out, counting what every package's tests reach anywhere, and print the total
	$(GO) test -timeout 15m -coverpkg=./... -coverprofile=cover.out ./...
	@$(GO) tool cover -func=cover.out | tail -n 1
