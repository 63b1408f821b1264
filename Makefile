# gangline: `make help` lists the targets. Everything installs into .venv, from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL ?= qwen2.5-coder-1.5b
STAMP := $(VENV)/.installed
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed
# Peers whose dependencies do not fit into one environment: .venv-bench-NAME each.
PEERS := langgraph dbos prefect ray
PEER_STAMPS := $(PEERS:%=$(BENCH)-%/.installed)
# Waiting threads must sleep: two spinning OpenMP threads on a busy two-core box cost 10-50x.
export OMP_WAIT_POLICY := passive

.PHONY: help setup bench-setup run test api-test page-shots docs-ops test-slow lint type clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; pass PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

setup: $(STAMP) ## make .venv with gangline (editable) and the test tools

$(BENCH_STAMP): benchmarks/requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; pass PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

$(BENCH)-%/.installed: benchmarks/requirements-%.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; pass PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(BENCH)-$*
	$(BENCH)-$*/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench-setup: $(BENCH_STAMP) $(PEER_STAMPS) ## make .venv-bench* with the peers that benchmarks/ compares with

run: $(STAMP) ## answer three questions (MODEL=smollm2-135m: small, but poor SQL)
	@$(BIN)/python -m gangline.runtime.demo --model $(MODEL)

lint: $(STAMP) ## ruff (format and lint), import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

type: $(STAMP) ## mypy strict
	$(BIN)/mypy

test: lint type ## everything CI checks: lint, types, tests
	@command -v chromium >/dev/null || echo "make: no Chromium here: the tests of the page will skip (apt-get install chromium)"
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || echo "make: no PostgreSQL here: the tests of a store on it will skip (apt-get install postgresql)"
	$(BIN)/pytest -q -rs

api-test: $(STAMP) ## generate many requests from the served OpenAPI document (schemathesis)
	GANGLINE_API_EXAMPLES=50 $(BIN)/pytest -q --timeout 1800 tests/runtime/server/test_schemathesis.py

docs-ops: $(STAMP) ## write docs/ops.md anew from the op table
	$(BIN)/python -m gangline.ir.ops_page > docs/ops.md

page-shots: $(STAMP) ## take the pictures of docs/page.md anew (needs Chromium)
	$(BIN)/python -m benchmarks.page_shots

test-slow: $(STAMP) ## the tests that need the 1.1 GB model (downloads it)
	$(BIN)/gangline models pull qwen2.5-coder-1.5b
	$(BIN)/pytest -q -m slow --timeout 1800

clean: ## remove the environment and every cache inside the folder
	rm -rf $(VENV) $(BENCH) $(PEERS:%=$(BENCH)-%) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info build dist
