# What one does here. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
CACHE ?= $(or $(GAPSMITH_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME)/gapsmith,$(HOME)/.cache/gapsmith))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install dev horovod demo test unit lint format types imports ci docs wheel bench lock schema vendor screenshots clean

help: ## list what one does here
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gapsmith needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Every file is checked against the hashes of requirements/. The package index has torch's CUDA build, which needs CUDA's
# libraries; where pip finds another build, for example by PIP_FIND_LINKS, and local.txt has its hash, that one is taken.
LOCKED := install --quiet --require-hashes --no-deps
TORCH = $(BIN)/python -c 'from importlib.metadata import version; print(version("torch"))'

$(VENV)/.installed: $(VENV)/.venv pyproject.toml $(addprefix requirements/,install.txt embedded.txt cuda.txt local.txt)
	@echo "installing gapsmith into $(VENV) (some minutes, once)"
	@$(PIP) $(LOCKED) --requirement requirements/local.txt >/dev/null 2>&1 || echo "taking torch from the package index" >&2
	@$(PIP) $(LOCKED) --requirement requirements/install.txt --requirement requirements/embedded.txt || { echo "a package has no file for this platform and Python whose hash is in requirements/ (pip names it above); to go on without hashes: $(BIN)/pip install --editable '.[embedded]'" >&2; exit 1; }
	@case "$$($(TORCH))" in *+*) ;; *) $(PIP) $(LOCKED) --requirement requirements/cuda.txt ;; esac
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements/horovod.txt requirements/dev.txt
	@$(PIP) $(LOCKED) --requirement requirements/horovod.txt --requirement requirements/dev.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.dev requirements/docs.txt
	@$(PIP) $(LOCKED) --requirement requirements/docs.txt
	@touch $@

$(VENV)/.horovod: $(VENV)/.dev compose/horovod/build_wheel.sh
	@wheel=$$(compose/horovod/build_wheel.sh "$(abspath $(BIN))/python" "$(CACHE)"); code=$$?; \
	if [ $$code -eq 3 ]; then echo "no C++ compiler: going on without Horovod; its tests are skipped" >&2; \
	elif [ $$code -ne 0 ]; then exit $$code; \
	else $(PIP) install --quiet --no-deps --force-reinstall "$$wheel" && touch $@; fi

install: $(VENV)/.installed ## make .venv with gapsmith in it
dev: $(VENV)/.dev ## the same with the tools for working on it
horovod: $(VENV)/.horovod ## build Horovod (once, some minutes, needs a C++ compiler) and install it

demo: install ## find molecules with a 4 eV gap: the whole loop on this machine
	$(BIN)/gapsmith run examples/quickstart.yaml

# A test that fails runs a second time, and the summary names it (R): many start dozens of processes, which a machine with other
# work can hold up for longer than any limit that still finds what hangs.
TESTS := -m pytest -q --durations 10 --reruns 1 -rfER
test: horovod ## all tests, on real servers: on two cores, then those beside which nothing may run
	@code=0; skipped=$$(mktemp); set -x; \
	$(BIN)/python $(TESTS) --skipped=$$skipped -n 2 --dist worksteal -m 'not serial' || code=$$?; \
	$(BIN)/python $(TESTS) --skipped=$$skipped -m serial || code=$$?; \
	rm -f $$skipped; exit $$code

unit: dev ## the fast tests, with fewer examples of each property
	$(BIN)/python -m pytest -q --hypothesis-profile quick -m 'not slow' tests/unit

lint: dev ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: dev ## put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: dev ## mypy, strict
	$(BIN)/mypy

imports: dev ## which way imports point
	$(BIN)/lint-imports

docs: $(VENV)/.docs ## build the documentation site into build/docs/html; a dead link is an error
	$(BIN)/python -m docs.site.build

wheel: dev ## build dist/gapsmith-VERSION-py3-none-any.whl
	@rm -f dist/gapsmith-*.whl
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/gapsmith-*.whl

ci: lint types imports docs test ## what decides whether a change lands

bench: horovod ## measure, and write benchmarks/results/*.json
	$(BIN)/python -m benchmarks

lock: dev ## write requirements/*.txt: versions and hashes of all that pyproject.toml asks for
	$(BIN)/python requirements/lock.py

schema: dev ## write docs/campaign.md and docs/campaign.schema.json
	$(BIN)/gapsmith campaign schema > docs/campaign.schema.json
	$(BIN)/gapsmith campaign schema --markdown > docs/campaign.md

vendor: ## fetch the browser libraries of the dashboard again (needs npm)
	$(PYTHON) services/dashboard/vendor.py

screenshots: dev ## write docs/images/dashboard-*.png from the campaign of a running dashboard (needs Chromium)
	$(BIN)/python services/dashboard/screenshots.py

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
