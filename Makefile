# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MARK    = $(VENV)/.installed-$(1)

.PHONY: help demo test check docs portability survival bench clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    run a real analysis on real data on this machine"
	@echo "make test    run the tests"
	@echo "make check   ruff, mypy --strict, import-linter"
	@echo "make docs    run the code blocks of the documentation"
	@echo "make bench   compare with the native managers"
	@echo "make portability   run docs/examples on every system that can be had here, and compare their results"
	@echo "make survival      the same while workers are killed and walltimes end"

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
# Workers killed under docs/examples, and walltimes that end, take another half hour: `make survival`.
LIVE     := $(BIN)/python -m pytest -p no:cacheprovider
ANALYSES := tests/live/test_portability.py tests/live/test_survival.py
test: $(call MARK,check)
	@said=$$(mktemp -d); \
	$(LIVE) tests/live/test_slurm_lab.py >"$$said/slurm" 2>&1 & slurm=$$!; \
	{ $(LIVE) tests/live --ignore=tests/live/gateway --ignore-glob='*_lab.py' $(ANALYSES:%=--ignore=%); pbs=$$?; \
	  $(LIVE) tests/live/test_kubernetes_lab.py && exit $$pbs; } >"$$said/pbs" 2>&1 & pbs=$$!; \
	$(BIN)/python -m pytest tests --ignore=tests/live; others=$$?; \
	$(LIVE) tests/live/gateway tests/live/test_portability.py; gateway=$$?; \
	wait $$pbs; pbs=$$?; cat "$$said/pbs"; wait $$slurm; slurm=$$?; cat "$$said/slurm"; rm -r "$$said"; \
	exit $$((others || gateway || pbs || slurm))

check: $(call MARK,check)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --diff .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(call MARK,check)
	$(BIN)/python -m pytest tests/docs

portability: $(call MARK,check)
	PYTHONPATH=tests $(BIN)/python -m live.portability

survival: $(call MARK,check)
	$(LIVE) tests/live/test_survival.py

$(call MARK,bench): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	@touch $@ $(call MARK,check) $(call MARK,demo)

bench: $(call MARK,bench)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
