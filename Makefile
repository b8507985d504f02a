# relive: build, test, measure. `make help` lists the targets.

LDFLAGS := -s -w $(shell scripts/version --flags)
GOFILES := $(shell find . -name '*.go' -not -path './build/*' -not -path './bin/*') go.mod $(wildcard go.sum)
# How long each fuzz target runs.
FUZZTIME ?= 20s

# Where make install puts things, below DESTDIR.
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all install uninstall packages packages-check release docs demo test race lint dist arches fuzz bench bench-quick e2e mutants clean help
.DEFAULT_GOAL := all

all: bin/relive build/share/NOTICES ## build bin/relive, and what is installed beside it

# What the program says of itself: it is linked anew where that differs.
build/flags: FORCE
	@mkdir -p build
	@echo '$(LDFLAGS)' | cmp -s - $@ || echo '$(LDFLAGS)' >$@
FORCE:

bin/relive: $(GOFILES) build/flags
	@scripts/setup build
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $@ ./cmd/relive

build/share/NOTICES: bin/relive scripts/share
	@scripts/share

install: all ## install below $(DESTDIR)$(PREFIX): program, manual, completions, documents
	@scripts/install "$(DESTDIR)$(PREFIX)"

uninstall: ## remove what make install has put there
	@scripts/install --remove "$(DESTDIR)$(PREFIX)"

demo: ## compact sample live systems, make an ISO of one, show before and after
	@scripts/demo

test: ## vet and every test
	@scripts/setup test
	@scripts/test

arches: ## vet for every architecture, and the tests of the formats on 32-bit ARM, emulated
	@scripts/setup arches
	@scripts/arches

dist: ## static binaries for every architecture, with their sums, in build/dist
	@scripts/setup build
	@scripts/dist

packages: all dist ## deb, rpm, apk and Arch packages, in build/packages
	@scripts/packages

# Which roots: see scripts/packages-check --help.
ROOTS ?= bookworm-amd64

packages-check: all dist ## install, use, upgrade and remove packages in a new Debian, or in $(ROOTS)
	@scripts/setup packages
	@scripts/packages-check $(addprefix --root ,$(ROOTS))

docs: bin/relive ## record the session that the README shows, docs/session.svg
	go run ./scripts/session bin/relive docs

VERSION ?=

release: ## what is to be published of VERSION=1.2.3, in build/release
	@scripts/release $(VERSION)

# The packages in which goroutines share something.
RACE_PACKAGES := ./tree/... ./overlay ./internal/lru ./squash ./erofs ./dmmerge

race: ## the short tests of packages with goroutines, under the race detector
	@scripts/setup test
	CGO_ENABLED=1 go test -count=1 -race -short -timeout 15m $(RACE_PACKAGES)

lint: ## golangci-lint (with the import direction) and shellcheck
	@scripts/setup lint
	@scripts/lint

fuzz: ## every fuzz target for $(FUZZTIME)
	@scripts/setup test
	@scripts/fuzz -t $(FUZZTIME)

bench: bin/relive ## compaction, snapshots and ext4 images against mksquashfs, xorriso and mke2fs
	@scripts/setup bench
	@scripts/bench

bench-quick: bin/relive ## the same on small data, in some minutes
	@scripts/setup bench
	@scripts/bench --quick

# Which parts, all unless told: see scripts/e2e.
PARTS ?=

e2e: bin/relive ## boot compacted systems and ISOs in virtual machines, ask the kernel's dm-snapshot
	@scripts/setup e2e
	@scripts/e2e $(PARTS)

# Which package, and what else scripts/mutate/doc.go names, such as "-n 200 -seed 7".
PACKAGE ?= ./overlay
MUTATE ?=

mutants: ## change the code of PACKAGE (./overlay) at random: do its tests find it?
	@scripts/setup test
	go run ./scripts/mutate $(MUTATE) $(PACKAGE)

clean: ## remove what make built, the cached test systems too
	rm -rf bin build

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
