# Needs python3 (3.11 or newer, with venv), make and git. Every target builds .venv by itself, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LAB := fixtures/recordings/office_lab
# A command for each family of rules, two at a time.
BY_FAMILY = ls -d rules/*/ | xargs -P 2 -n 1
# Runs the engines' suites; what follows says what becomes of their ledger.
SUITES = tests/engines
ENGINES = ledger=$$(mktemp) && EWDETECT_ENGINES=1 EWDETECT_LEDGER=$$ledger \
	$(BIN)/python -m pytest -n auto --dist worksteal -q $(SUITES) && $(BIN)/python -m tests.engines.report

.DEFAULT_GOAL := help
.PHONY: help demo test test-engines parity parity-sources mutate check golden docs budget bench clean

help:   ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-21s%s\n", $$1, $$2}'

demo: $(READY)   ## find the attack in a recorded office network
	@$(BIN)/ewdetect backtest $(LAB)/flows.eve.jsonl.gz --source suricata_eve \
		--network $(LAB)/network.yml --truth $(LAB)/truth.yml

test: $(READY)   ## the tool's tests, then every rule's own cases
	$(BIN)/python -m pytest -n auto --dist worksteal -q
	@$(BY_FAMILY) $(BIN)/ewdetect test

test-engines: $(READY)   ## run every converted query on a real Elasticsearch and an SPL executor; needs Java 21 and Maven
	@$(ENGINES) --check $$ledger

parity: $(READY)   ## the same, and write docs/parity.md anew
	@$(ENGINES) $$ledger

parity-sources: SUITES = tests/engines/test_other_parity.py
parity-sources: $(READY)   ## write its part about the other sources alone, in minutes
	@$(ENGINES) $$ledger

mutate: $(READY)   ## break every rule in every way; a case must notice each
	@$(BY_FAMILY) $(BIN)/ewdetect test --mutate

check: $(READY)   ## style, types, layers, rules, and whether generated files are fresh
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/ewdetect check
	$(BIN)/python -m ewdetect.docs --check
	$(BIN)/python -m tests.golden_files --check

golden: $(READY)   ## write the expected queries anew; read the diff before you commit it
	$(BIN)/python -m tests.golden_files

docs: $(READY)   ## write the generated pages anew
	$(BIN)/python -m ewdetect.docs

budget: $(READY)   ## count the alerts of every rule on weeks of ordinary traffic, and write docs/budget.md
	$(BIN)/python -m bench.budget --write

bench: $(READY)   ## time and memory for a million flows, and the speed of every source
	$(BIN)/python -m bench.run
	$(BIN)/python -m bench.sources

clean:   ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist

# uv where it is, else pip. A venv that was left half-made is made again, because the stamp comes last.
$(READY): pyproject.toml constraints.txt
	@echo "making $(VENV)" >&2; rm -rf $(VENV)
	@if command -v uv >/dev/null; then \
		uv venv --quiet --python '>=3.11' $(VENV) && \
		uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'; \
	else \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ewdetect needs Python 3.11 or newer; set PYTHON=")' && \
		{ $(PYTHON) -m venv $(VENV) || { echo "venv is missing: apt-get install python3-venv" >&2; false; }; } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@
