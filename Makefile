# Targets for people. Heavy builds are kept by content outside the checkout, so they are done once.
CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pressenter
CHAIN  := $(CACHE)/daemon/$(shell find chain -name '*.go' ! -name '*_test.go' -o -name 'go.*' | LC_ALL=C sort | xargs cat | cksum | tr -d ' ')
GO     := CGO_ENABLED=0 go
GOTEST := go test -shuffle=on

.PHONY: up test e2e bench bench-up bench-apply bench-mesh soak lint lab build chain croc clean

up: build ## a real validator behind sentries on this computer, in ./practice
	@mkdir -p practice && cd practice && ../bin/pressenter up

build: chain croc
	@sh build/go-version.sh
	$(GO) build -trimpath -o bin/pressenter ./cmd/pressenter

chain: $(CHAIN)/practiced ## the practice chain's daemon
	@mkdir -p bin && cp -f $(CHAIN)/practiced bin/practiced

croc: ## what meets hosts that have a code
	@mkdir -p bin && cd croc && $(GO) build -trimpath -o ../bin/pressenter-croc .

$(CHAIN)/practiced:
	@sh build/go-version.sh
	@echo "building the practice chain: the first time takes some minutes, then it is kept in $(CACHE)"
	@mkdir -p $(CHAIN) && cd chain && $(GO) build -trimpath -ldflags '-s -w' -o $(CHAIN)/practiced.new ./cmd/practiced
	@mv $(CHAIN)/practiced.new $@

test: ## everything that needs neither root nor the chain's build
	$(GOTEST) -short ./...

e2e: build ## whole networks with the real programs
	$(GOTEST) -count=1 -timeout 55m ./e2e ./internal/doctor -e2e -daemon $(CURDIR)/bin/practiced
	$(GOTEST) -count=1 -timeout 40m -p 1 ./internal/lab ./internal/agent ./internal/remote ./internal/provision ./internal/apply ./internal/mesh ./internal/vpncloud

bench bench-up: build ## figures beside a rival, on a quiet machine
	$(GO) run ./bench -bin bin

bench-apply bench-mesh: build ## bare servers to a first signature; the mesh beside its rivals: as root on Linux
	$(GO) run ./bench/$(@:bench-%=%) -bin bin

soak: build ## what is too long for CI
	$(GOTEST) -count=1 -timeout 4h ./e2e -e2e -soak -daemon $(CURDIR)/bin/practiced
	$(GOTEST) -count=1 -timeout 4h ./internal/mesh ./internal/provision -soak

lint: ## formatting, vet for both systems, staticcheck, known vulnerabilities
	@sh build/lint.sh

lab: ## bare servers with systemd and sshd on this computer, as root on Linux, until Ctrl-C; HOSTS=6 for six
	@mkdir -p bin && $(GO) build -o bin/lab ./lab && exec bin/lab -hosts $(or $(HOSTS),4)
