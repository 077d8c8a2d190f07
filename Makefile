# One command for each thing to do; `make help` lists them. All of it works on a fresh Debian or Ubuntu machine.
# Variables: CONFIG=file.yaml and ARGS='...' for run, ARGS='...' for test and bench, VENV=dir, PYTHON=/path/to/python.

VENV ?= .venv
export VENV
ifdef PYTHON
export PYTHON
endif
BIN := $(VENV)/bin
CONFIG ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run demo test faults collector apiserver bpf lint format types contracts docs-check check bench ui screenshots reference constraints clean

help: ## list what can be made
	@echo "tapio-otel: tells what happened on this node, and why. Usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done

run: ## set up and run the agent; CONFIG=file.yaml for another pipeline, ARGS='...' for more options
	@scripts/set-up run && exec $(BIN)/tapio run $(if $(CONFIG),--config "$(CONFIG)") $(ARGS)

demo: ## show what the agent makes of an incident, in a systemd of its own (root, half a minute); ARGS='--keep FILE'
	@exec scripts/demo $(ARGS)

# The servers are built for a run of all tests, or of those that talk to them: it takes minutes the first time.
BUILT := $(if $(and $(ARGS),$(if $(or $(findstring integration,$(ARGS)),$(findstring kubernetes,$(ARGS)),$(findstring faults,$(ARGS))),,1)),true,scripts/fetch-servers)

test: ## set up and run all tests; ARGS='...' goes to pytest
	@scripts/set-up test && $(BUILT) && exec $(BIN)/python -m pytest $(ARGS)

# The long form of what `make test` has a short form of; each figure may be set. It takes about three quarters of an hour.
FAULTS := TAPIO_FAULT_KILLS=$${TAPIO_FAULT_KILLS:-1000} TAPIO_FAULT_OUTAGE=$${TAPIO_FAULT_OUTAGE:-120} \
  TAPIO_FAULT_DAMAGES=$${TAPIO_FAULT_DAMAGES:-50} TAPIO_FAULT_SECONDS=$${TAPIO_FAULT_SECONDS:-600} \
  TAPIO_FAULT_REPORT=$${TAPIO_FAULT_REPORT:-build/faults.json}

faults: ## kill, starve and cut off the agent, and show that nothing is lost; build/faults.json has the figures
	@scripts/set-up test && scripts/build-collector && $(FAULTS) exec $(BIN)/python -m pytest \
	  tests/faults tests/integration/test_faults_journald.py tests/integration/test_faults_memory.py $(ARGS)

collector: ## build the otel-collector that the integration tests talk to
	@scripts/build-collector

apiserver: ## build the kube-apiserver and etcd that the integration tests talk to
	@scripts/build-apiserver

bpf: ## compile the BPF programs of the ebpf receiver
	@scripts/set-up run && $(BIN)/python bpf/build.py

lint: ## check style and formatting
	@scripts/set-up test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: ## put the sources into their form
	@scripts/set-up test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: ## check types (mypy strict)
	@scripts/set-up test
	$(BIN)/mypy

contracts: ## check that imports go down only
	@scripts/set-up test
	$(BIN)/lint-imports

docs-check: ## check that documented configuration is valid and generated references are current
	@scripts/set-up test
	$(BIN)/python -m pytest -q tests/test_docs.py tests/test_config_files.py

check: lint types contracts docs-check ## all of the above checks

bench: ## measure the journal's pipeline, D-Bus signals and the kernel's probes; ARGS='--entries 50000' for the first alone
	@scripts/set-up test && $(BIN)/python -m bench $(ARGS)
	@$(if $(ARGS),,$(BIN)/python -m bench.systemd && $(BIN)/python -m bench.ebpf && $(BIN)/python -m bench.queue && $(BIN)/python -m bench.event_store && $(BIN)/python -m bench.kubernetes && $(BIN)/python -m bench.kubernetes_agent)

ui: ## build the page from its sources in ui/ (Node.js 20.19 or newer, and the npm registry)
	@command -v npm >/dev/null || { echo "ui: npm is missing: install Node.js 20.19 or newer, https://nodejs.org" >&2; exit 1; }
	cd ui && npm install --no-package-lock --no-audit --no-fund && npm run build

screenshots: ## take the pictures of the page in docs/images anew, in Chromium
	@scripts/set-up test && $(BIN)/python -m tests.ui.screenshots

reference: ## write docs/reference from the code
	@scripts/set-up test && $(BIN)/python scripts/reference.py && $(BIN)/python scripts/permissions.py

constraints: ## remake constraints.txt with the newest versions
	@scripts/make-constraints

clean: ## remove what these targets made (not the cached collector and journals)
	rm -rf $(VENV) build dist ui/node_modules .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
