# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MARK    = $(VENV)/.installed-$(1)

.PHONY: help demo test test-hub test-gateway test-pbs test-slurm test-kubernetes test-analyses test-browser check docs screenshots portability survival bench clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make demo         run a real analysis on real data on this machine"
	@echo "make test         run the tests; test-hub, test-gateway, test-pbs, ... are parts of them"
	@echo "make check        ruff, mypy --strict, import-linter"
	@echo "make docs         test the code blocks of the documentation, and build the site"
	@echo "make screenshots  take the pictures of the documentation, in a real browser"
	@echo "make portability  run docs/examples on every system that can be had here, and compare their results"
	@echo "make survival     the same while workers are killed and walltimes end; half an hour"
	@echo "make bench        compare with the native managers"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "clusterhub needs Python 3.11 or newer; say make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(call MARK,demo): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[demo]"
	@touch $@

$(call MARK,check): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[check]"
	@touch $@ $(call MARK,demo)

demo: $(call MARK,demo)
	$(BIN)/clusterhub demo local

# Tests of live systems wait most of the time, so three rows of tests run beside one another; what the last two said comes last.
ROW := $(MAKE) --no-print-directory --keep-going
test: $(call MARK,check)
	@said=$$(mktemp -d); \
	$(ROW) test-slurm test-analyses >"$$said/slurm" 2>&1 & slurm=$$!; \
	$(ROW) test-pbs test-kubernetes >"$$said/pbs" 2>&1 & pbs=$$!; \
	$(ROW) test-hub test-gateway test-browser; hub=$$?; \
	wait $$pbs; pbs=$$?; cat "$$said/pbs"; wait $$slurm; slurm=$$?; cat "$$said/slurm"; rm -r "$$said"; \
	exit $$((hub || pbs || slurm))

# Each also alone. What a machine cannot have is skipped loudly, and fails where CLUSTERHUB_LIVE names it. What pages show is tested by
# `make docs`.
LIVE := $(BIN)/python -m pytest -p no:cacheprovider
test-hub: $(call MARK,check)
	$(BIN)/python -m pytest tests --ignore=tests/live --ignore=tests/docs
test-gateway: $(call MARK,check)
	$(LIVE) tests/live/gateway
test-pbs: $(call MARK,check)
	$(LIVE) tests/live/pbs
test-slurm: $(call MARK,check)
	$(LIVE) tests/live/test_slurm_lab.py
test-kubernetes: $(call MARK,check)
	$(LIVE) tests/live/test_kubernetes_lab.py
test-analyses: $(call MARK,check)
	$(LIVE) tests/live $(addprefix --ignore=tests/live/,gateway pbs browser test_survival.py) --ignore-glob='*_lab.py'   # what else is there
	$(LIVE) tests/live/test_survival.py -k local
test-browser: $(call MARK,check)
	$(LIVE) tests/live/browser

check: $(call MARK,check)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --diff .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(call MARK,docs): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $@

# The blocks wait for clusters most of the time; the site is built beside them, and what Sphinx said comes last.
docs: $(call MARK,docs)
	@said=$$(mktemp); \
	$(BIN)/python -m sphinx -E -b html -q -W --keep-going docs docs/_build/html >"$$said" 2>&1 & site=$$!; \
	$(BIN)/python -m pytest tests/docs; blocks=$$?; \
	wait $$site; site=$$?; cat "$$said"; rm "$$said"; \
	[ $$site -ne 0 ] || echo "docs/_build/html/index.html"; \
	exit $$((blocks || site))

portability: $(call MARK,check)
	PYTHONPATH=tests $(BIN)/python -m live.portability

screenshots: $(call MARK,check)
	CLUSTERHUB_LIVE=browser CLUSTERHUB_SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/live/browser

survival: $(call MARK,check)
	$(LIVE) tests/live/test_survival.py

$(call MARK,bench): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	@touch $@ $(call MARK,check) $(call MARK,demo)

bench: $(call MARK,bench)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
