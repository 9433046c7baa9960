# The project's verbs. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Options for `slipway up`, for example: make up ARGS="--http-port 0"
ARGS ?=

# uv reads its own variables; whoever has set pip's gets the same mirrors and wheel folders.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
ifneq ($(PIP_INDEX_URL),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

.PHONY: help
help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

$(STAMP): requirements.lock pyproject.toml scripts/python.sh
	@python="$$(bash scripts/python.sh)" || exit 1; \
	if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c '' 2>/dev/null; then \
	  rm -rf $(VENV); "$$python" -m venv $(VENV) || { echo "slipway: $$python has no working venv module; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }; fi
	@echo "installing what requirements.lock pins (the first time this downloads; torch is the largest part)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.lock | cut -d' ' -f1)"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --requirement requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

.PHONY: install
install: $(STAMP) ## Make .venv with everything that requirements.lock pins

.PHONY: up
up: $(STAMP) ## Train and export what is missing, start Triton and the frontend, ask each model once
	@exec $(BIN)/slipway up $(ARGS)

.PHONY: test
test: $(STAMP) ## Pass all tests
	@bash scripts/chromium.sh
	@$(BIN)/python -m pytest --numprocesses 2 $(ARGS)

.PHONY: check
check: $(STAMP) ## Format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(STAMP) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(STAMP) ## Measure speed and memory; writes benchmarks/results/
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/backend_speed.py
	@$(BIN)/python benchmarks/memory.py
	@$(BIN)/python benchmarks/image_hop.py

.PHONY: lock
lock: ## Resolve the dependencies anew into requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --constraint scripts/lock-constraints.txt --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet --upgrade -o requirements.lock
	@# torch's CUDA build pins its own nvidia packages exactly; its CPU build must not be made to bring them.
	@sed -i -E 's/\+cpu//; /^--/d; /^(nvidia-(cu|nc|nv)|cuda-|triton==)/d' requirements.lock

.PHONY: clean
clean: ## Remove the environment, what was trained and what was published
	@rm -rf $(VENV) artifacts dist .pytest_cache .ruff_cache .hypothesis
	@if [ -d model_repository ]; then \
	  find model_repository -mindepth 2 -maxdepth 2 -type d -name '[0-9]*' -exec rm -rf {} +; \
	  find model_repository -mindepth 1 -maxdepth 2 -name '.*' -exec rm -rf {} +; fi
