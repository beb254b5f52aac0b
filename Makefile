# Needs make and a Python of at least 3.11 with its venv module; everything else is fetched into
# .uv (the installer, pinned) and .venv (the locked environment).

UV_VERSION := 0.13.9
# A shared machine waits much of the time: for containers, stacks that start, bounds that pass.
PYTEST_WORKERS ?= 2
IN_PROCESSES := -n $(PYTEST_WORKERS) --no-loadscope-reorder
PYTEST_ARGS ?=
NAME ?=
MESSAGE ?=
MINUTES ?= 2
SEED ?= 1

CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	"$$name" -c 'import sys; sys.version_info >= (3, 11) or sys.exit(1); print(sys.executable)' \
	2>/dev/null && break; done)

RUN := .venv/bin/python -m
READY := .venv/.ready
UV := .uv/bin/uv

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Say what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' Makefile | \
	while IFS='|' read -r name text; do printf '  %-10s %s\n' "$$name" "$$text"; done

.PHONY: up
up: $(READY)  ## Start the whole stack on this machine; Ctrl-C stops it
	@exec .venv/bin/python -m app.cli up $(ARGS)

.PHONY: demo
demo: $(READY)  ## Walk the main job over the HTTP API; DIGITS=folder uses the original archives
	@exec $(RUN) examples.demo

.PHONY: test
test: $(READY)  ## Lint, format check, types, imports and all tests; PYTEST_ARGS=… narrows the last
	@status=0; \
	$(MAKE) --no-print-directory --keep-going lint types || status=1; \
	$(RUN) pytest $(IN_PROCESSES) $(PYTEST_ARGS) || status=1; \
	exit $$status

.PHONY: test-faults
test-faults: $(READY)  ## The tests that break something: docs/faults.md
	$(RUN) pytest $(IN_PROCESSES) -m fault $(PYTEST_ARGS)

.PHONY: explore
explore: $(READY)  ## The scheduler's property tests, or PYTEST_ARGS=…, with new and many more examples
	$(RUN) pytest $(IN_PROCESSES) --hypothesis-profile explore $(or $(PYTEST_ARGS),tests/scheduling)

.PHONY: lint
lint: lint-code lint-format lint-imports  ## Lint, format check and import contracts

.PHONY: lint-code
lint-code: $(READY)
	$(RUN) ruff check --quiet

.PHONY: lint-format
lint-format: $(READY)
	$(RUN) ruff format --quiet --check

.PHONY: lint-imports
lint-imports: $(READY)
	.venv/bin/lint-imports

.PHONY: types
types: $(READY)  ## Check the types
	$(RUN) mypy

.PHONY: format
format: $(READY)  ## Format the code and mend what the linter can mend
	$(RUN) ruff check --quiet --fix
	$(RUN) ruff format --quiet

.PHONY: openapi
openapi: $(READY)  ## Write openapi/openapi.json anew; ARGS=--release when a version is released
	$(RUN) tools.openapi.document $(ARGS)

.PHONY: sdk
sdk: $(READY)  ## Generate clients into build/sdk: Python (two), Go, TypeScript; NAME=python: one
	$(RUN) tools.sdk.generate $(NAME)

.PHONY: bench
bench: $(READY)  ## Measure; NAME=warm_start runs one benchmark, without it all of them
	@exec $(RUN) benchmarks $(NAME)

.PHONY: soak
soak: $(READY)  ## Load and random faults on a whole stack for MINUTES=2; SEED=1: counts, which have to be 0
	@exec $(RUN) tests.soak --minutes $(MINUTES) --seed $(SEED)

.PHONY: migrate
migrate: $(READY)  ## Bring the database of TRAINWRIGHT_DATABASE_URL, or of a running `make up`, to head
	$(RUN) app.cli migrate

.PHONY: revision
revision: $(READY)  ## Write a migration from the difference to the tables; MESSAGE="what changes"
	@test -n "$(MESSAGE)" || { echo 'say what changes: make revision MESSAGE="…"' >&2; exit 2; }
	$(RUN) app.cli revision "$(MESSAGE)"

.PHONY: sbom
sbom: $(READY)  ## Write what the service is made of to build/sbom.cdx.json (CycloneDX)
	@mkdir -p build
	$(UV) export --frozen --quiet --no-dev --no-emit-workspace --format cyclonedx1.5 \
		--output-file build/sbom.cdx.json >/dev/null

.PHONY: audit
audit: $(READY)  ## Look the lock up among known vulnerabilities; says so when nobody can be asked
	$(RUN) pytest tests/supply_chain -q -rs

.PHONY: clean
clean:  ## Remove environments and caches; data folders stay
	rm -rf .venv .uv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is checked again whenever the project or the lock changed.
$(READY): pyproject.toml client/pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --no-python-downloads --compile-bytecode --python "$(PYTHON)"
	@touch $@

# A private copy of the installer. Debian splits venv from Python; pip alone does as well.
$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; found none of: $(CANDIDATES)" >&2; exit 1; }
	@rm -rf .uv
	@if "$(PYTHON)" -m venv .uv 2>/dev/null; then \
		.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	else \
		rm -rf .uv; \
		"$(PYTHON)" -m pip install --quiet --disable-pip-version-check --target .uv uv==$(UV_VERSION) || { \
			rm -rf .uv; \
			echo "$(PYTHON) has neither venv nor pip (on Debian: apt-get install python3-venv)" >&2; exit 1; }; \
	fi
