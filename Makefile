# A newcomer needs `make train` and `make test`; both set .venv up first. Choose an interpreter with PYTHON=python3.11.

VENV := .venv
PY := $(VENV)/bin/python
ARGS ?=
PYTHON ?=
READY := $(VENV)/.ready
# Without SClite, which set-up installs where it may, errors are counted by edit distance: the same numbers.
SCLITE = $(shell { command -v sclite || ls /usr/lib/sctk/bin/sclite; } 2>/dev/null)
# Tests share the cores: a process with one thread for each, a file in one of them, and one process more, as some
# wait for servers. One that dies ends the run: pytest-xdist would start another, and may then wait for ever.
PROCESSES := $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1); echo $$((n < 4 ? n + 1 : 4)))
WORKERS ?= --numprocesses=$(PROCESSES) --dist=loadscope --no-loadscope-reorder --max-worker-restart=0
RESOLVE = $(PY) -m uv pip compile pyproject.toml --extra dev --quiet --universal --python-version 3.10 \
  --fork-strategy fewest --no-emit-index-url --no-emit-find-links
HWR_KILLS ?= 20
HWR_FUZZ ?= 2000
HWR_OUTAGE_S ?= 30

.PHONY: help setup train test endurance check format docs lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

setup: $(READY)  ## make .venv from requirements.lock; nothing to do when it is up to date

train: setup  ## set up, then train a line recogniser on drawn forms and score it; overrides as ARGS="lr=1e-3"
	$(PY) train.py experiments=line/synthetic phases.ctc.epochs=8 $(ARGS)
	$(PY) evaluate.py weights.line=outputs/latest/weights/best $(if $(SCLITE),,scorer=edit_distance)

test: setup check  ## set up, then check format, lint, types and run the tests; pytest's options as ARGS=
	$(PY) -m pytest $(WORKERS) $(ARGS)

endurance: setup  ## kills, outages, mutated input, sweeps in processes, many writers, many clients: an hour; HWR_KILLS=20 HWR_OUTAGE_S=30 HWR_FUZZ=2000
	HWR_KILLS=$(HWR_KILLS) HWR_OUTAGE_S=$(HWR_OUTAGE_S) HWR_FUZZ=$(HWR_FUZZ) $(PY) -m pytest tests/endurance -m 'endurance or slow' -o faulthandler_timeout=7200 $(ARGS)

check: setup  ## set up, then check format, lint and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: setup  ## format the code and mend what lint can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: setup  ## build the documentation site into site/; warnings fail
	$(PY) -m pip install -qq --disable-pip-version-check --no-build-isolation --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "site/index.html is ready; with search: $(PY) -m http.server --directory site"

lock: setup  ## resolve pyproject.toml anew into requirements.lock
	$(PY) -m pip install -qq uv
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(RESOLVE) --upgrade --generate-hashes --output-file requirements.lock
	$(RESOLVE) --constraints requirements.lock --format pylock.toml --output-file $(VENV)/pylock.toml
	$(PY) .ci/linux_hashes.py requirements.lock $(VENV)/pylock.toml

clean:  ## remove .venv and the tools' caches; outputs stay
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache *.egg-info

$(READY): requirements.lock pyproject.toml .ci/setup
	@PYTHON="$(PYTHON)" VENV="$(VENV)" .ci/setup
	@touch $@
