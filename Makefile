# Callboard's tasks. `make` lists them.

GO       ?= go
FUZZTIME ?= 10s
TOOL     := $(GO) tool -modfile=tools/go.mod
ARCH     ?= arm64
CONFIG   ?= events-config.json
E2E      := $(GO) test -count=1 -timeout 60m -tags deployed ./internal/e2e

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## start Callboard on this machine and show how to send the first webhook
	@bin/callboard dev $(ARGS)

.PHONY: build
build: ## build bin/callboard
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/callboard ./cmd/callboard

.PHONY: package
package: ## build the Lambda functions: dist/<name>/ and dist/<name>.zip for ARCH (arm64)
	@GO='$(GO)' tools/package $(ARCH) $(CONFIG)

.PHONY: test
test: ## run all tests that need nothing but Go
	$(GO) test -timeout 30m ./...
	$(GO) test -C examples/frobs ./...

.PHONY: test-race
test-race: ## run the tests with the race detector
	$(GO) test -race -timeout 30m ./...
	$(GO) test -C examples/frobs -race ./...

.PHONY: test-services
test-services: ## run the AWS adapters against MiniStack, moto and DynamoDB Local (Python, Java, Maven)
	tools/services/run $(GO) test -tags services ./pkg/events/awsevents ./internal/once ./internal/cloudtrace ./internal/table/dynamodb ./internal/secrets/awssecrets ./internal/blob/s3blob ./internal/deadletter/sqsletters ./functions/sqs-publisher

.PHONY: aws-local
aws-local: ## deploy to an emulator of AWS on this machine and show how to send the first webhook (Python, Node)
	@tools/services/aws-local

.PHONY: aws-local-test
aws-local-test: ## deploy to an emulator of AWS on this machine and run the end-to-end suite on it (Python, Node)
	@CONFIG=internal/e2e/testdata/events-config.json tools/services/aws-local $(E2E)

.PHONY: aws-test
aws-test: ## deploy the stage STAGE to where the settings of AWS lead, and run the end-to-end suite on it
	@CONFIG=internal/e2e/testdata/events-config.json tools/services/aws-stage $(or $(STAGE),$(error say which: make aws-test STAGE=<name>)) $(E2E)

.PHONY: infra-check
infra-check: ## test the CDK app and check its template (Node, Python)
	infra/check

.PHONY: faults
faults: ## kill the process at every call of the path, and at random under EVENTS (10000) events, and print the figures
	@tools/faults $(or $(EVENTS),10000) $(SEED)

.PHONY: vet
vet: ## run go vet
	$(GO) vet ./...
	$(GO) vet -tags deployed,services ./...
	$(GO) vet -C examples/frobs ./...
	$(GO) vet -tags faults ./internal/fault

.PHONY: lint
lint: ## run golangci-lint, with the versions pinned in tools/go.mod
	$(TOOL) golangci-lint run ./...
	$(TOOL) golangci-lint run --build-tags deployed,services ./internal/... ./pkg/... ./functions/...
	$(TOOL) golangci-lint run --build-tags faults ./internal/fault
	$(GO) tool -C examples/frobs -modfile=../../tools/go.mod golangci-lint run ./...
	$(GO) tool -C infra -modfile=../tools/go.mod golangci-lint run ./...

.PHONY: format
format: ## format the code
	$(TOOL) golangci-lint fmt ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s) each
	@tools/fuzz $(FUZZTIME)

.PHONY: docs
docs: build ## run the commands of the documentation and follow its links; needs curl
	@tools/docs-check

.PHONY: bench
bench: ## run the benchmarks and print their tables; ratios within one run are what counts
	@$(GO) test -run '^$$' -bench . -benchtime 2s -count 1 ./functions/ingress ./bench | bench/table

.PHONY: clean
clean: ## remove what was built; the state in .callboard stays
	rm -rf bin dist cdk.out
