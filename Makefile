# medgym: `make train` teaches the tiny model to look; `make test` proves the rest. Both build .venv.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests run in parallel, in one process more than there are cores, up to four.
PYTEST_FLAGS ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Tests start hundreds of processes: without bytecode each one would compile medgym again, and each
# process of pytest all tests.
unexport PYTHONDONTWRITEBYTECODE

# Small models on few cores: OpenMP threads that spin while they wait take the core from the others.
export OMP_WAIT_POLICY ?= PASSIVE
export KMP_BLOCKTIME ?= 0

.PHONY: train test lint types mutants format install clean

train: $(STAMP)
	$(BIN)/medgym train tiny $(FLAGS)

test: lint types
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy follows files, not import hooks: it gets the folders laid out as they are in the wheel.
types: $(STAMP)
	@rm -rf .types && mkdir -p .types/medgym
	@ln -s "$(CURDIR)"/medgym/* .types/medgym/
	@for room in agents benchmarks evals tools train; do ln -s "$(CURDIR)/$$room" .types/medgym/; done
	cd .types && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p medgym

# Mutation testing of the ground floor: about an hour, not part of CI; docs/mutants.md says what
# survives. MUTANTS="medgym.metrics.*" runs some; a second run repeats only what has changed.
mutants: $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet mutmut==3.8.1
	@mkdir -p .mutants && rm -rf .mutants/medgym .mutants/tests
	@cp -R medgym .mutants/medgym && cp -R tests .mutants/tests
	@for room in agents benchmarks evals tools train; do cp -R $$room .mutants/medgym/; done
	@cp tests/mutants/pyproject.toml .mutants/
	cd .mutants && OMP_NUM_THREADS=1 ../$(BIN)/python -m mutmut run --max-children 1 $(MUTANTS)
	cd .mutants && ../$(BIN)/python -m mutmut results

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

# With uv where there is one, else with venv and pip. PYTHON=... chooses the interpreter; without it
# the first of these that is 3.11 to 3.13 is taken. Built again whenever the two files change.
# What an older installation left in the checkout would hide the new entry points from here.
$(STAMP): pyproject.toml constraints.txt
	@set -euo pipefail; \
	rm -rf medgym.egg-info; \
	python=; \
	for each in $${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do \
	    if $$each -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
	    then python=$$each; break; fi; \
	done; \
	if command -v uv >/dev/null; then \
	    test -x $(BIN)/python || uv venv --quiet --python "$${python:-$${PYTHON:->=3.11,<3.14}}" $(VENV); \
	    uv pip install --python $(VENV) -e '.[train,dev]' -c constraints.txt; \
	elif [ -n "$$python" ]; then \
	    test -x $(BIN)/python || $$python -m venv $(VENV); \
	    $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet \
	        -e '.[train,dev]' -c constraints.txt; \
	else \
	    echo "medgym needs Python 3.11, 3.12 or 3.13; fix: install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	    exit 2; \
	fi
	@touch $@

clean:
	rm -rf $(VENV) .types .mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
