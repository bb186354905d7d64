# Two commands do all set-up on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
# Everything goes into .venv; nothing here needs root but `install` and `uninstall`.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?=
TESTS  ?= tests
PYTEST_FLAGS ?=
DEMO_FLAGS   ?=
BENCH_FLAGS  ?=
AUDIT_FLAGS  ?=

PYTHON_CODE  := src tests scripts benchmarks examples
SPELLED      := src tests docs scripts benchmarks examples bin .ci Makefile $(wildcard *.md)
LOCK_COMMAND := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
                --no-emit-index-url --custom-compile-command "make lock" $(LOCK_FLAGS)

.PHONY: help demo test check lint docs bench audit cron-year lock install uninstall clean venv

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## a page, a queue and its workers, in a temporary directory; Ctrl-C ends it (DEMO_FLAGS=--once: by itself)
	@$(BIN)/python -m shiftboss demo $(DEMO_FLAGS)

test: $(VENV)/dev.stamp  ## every test: unit, integration, end to end (TESTS=tests/unit for a part)
	@$(BIN)/python -m pytest $(PYTEST_FLAGS) $(TESTS)

check: lint  ## format, lint, types, spelling, unit tests: before each commit
	@$(BIN)/python -m pytest -q -n logical --dist worksteal $(PYTEST_FLAGS) tests/unit

lint: $(VENV)/dev.stamp  ## only what reads the code: format, lint, types, spelling
	@$(BIN)/ruff format --check --quiet $(PYTHON_CODE) || { echo "mend: $(BIN)/ruff format $(PYTHON_CODE)" >&2; exit 1; }
	@$(BIN)/ruff check --quiet $(PYTHON_CODE)
	@$(BIN)/mypy --strict
	@$(BIN)/codespell $(SPELLED)
	@$(BIN)/python scripts/check_endings.py

docs: $(VENV)/dev.stamp  ## writes the reference pages that are made from the code
	@$(BIN)/python scripts/generate_reference.py

bench: $(VENV)/dev.stamp  ## measures against other process managers, writes docs/reference/benchmarks.md (BENCH_FLAGS=--quick)
	@benchmarks/setup_peers.sh build/peers
	@$(BIN)/python -m benchmarks $(BENCH_FLAGS)

audit: $(VENV)/dev.stamp  ## looks for known holes in the pinned packages; needs the network (AUDIT_FLAGS=--unreachable-ok)
	@$(BIN)/python scripts/check_advisories.py $(AUDIT_FLAGS)

cron-year: $(VENV)/dev.stamp  ## our cron times and what our engine starts beside Debian's cron, a whole year in six time zones (root, cron, gcc; long)
	@SHIFTBOSS_CRON_YEAR=1 $(BIN)/python -m pytest -n 3 -s tests/integration/test_simulated_cron.py

lock: $(VENV)/dev.stamp  ## pins every package again, by hash (LOCK_FLAGS=--upgrade for newer versions)
	@$(LOCK_COMMAND) pyproject.toml requirements/build.in requirements/lock.in --extra demo --group dev -o requirements/dev.lock
	@$(LOCK_COMMAND) pyproject.toml requirements/build.in --extra demo -c requirements/dev.lock -o requirements/demo.lock
	@$(LOCK_COMMAND) pyproject.toml --extra demo -c requirements/dev.lock -o requirements/runtime.lock
	@$(LOCK_COMMAND) requirements/e2e.in -o requirements/e2e.lock

install: $(VENV)/demo.stamp  ## a root-owned copy in /opt/shiftboss, links in /usr/local/bin
	@scripts/install.sh install

uninstall:  ## removes exactly what `make install` put there
	@scripts/install.sh uninstall

clean:  ## removes .venv, caches and build results
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests scripts benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(VENV)/dev.stamp  ## only makes .venv

# A stamp is newer than the lock it was installed from; the locks agree on every version (see `lock`).
$(VENV)/%.stamp: requirements/%.lock pyproject.toml src/shiftboss/version.py scripts/make_venv.sh
	@PYTHON="$(PYTHON)" scripts/make_venv.sh $(VENV) requirements/$*.lock
	@touch $@
