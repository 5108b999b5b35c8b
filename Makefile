# Two commands on a fresh machine: `make quickstart` and `make test`. Each makes .venv first, once.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
RELEASING := .venv/.releasing
SERVING := .venv-services/.installed
export NO_MKDOCS_2_WARNING := 1

# Real data, where it lies beside the checkout; else $RLCL_DATA or ./data.
ifneq ($(wildcard ../shared/data),)
export RLCL_DATA ?= $(abspath ../shared/data)
endif

.PHONY: help quickstart test services lint types unit format matrix fuzz suites benchmark docs release clean

help:  ## Show what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml
	@echo "making .venv (once; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "rlcl needs Python 3.11 to 3.13; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

quickstart: $(INSTALLED)  ## Install, then run the main job
	@$(BIN)/rlcl run quickstart

test: lint types unit  ## Install, then run ruff, mypy and pytest

lint: $(INSTALLED)  ## Run ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Run mypy, strict
	$(BIN)/mypy

unit: $(INSTALLED)  ## Run pytest
	$(BIN)/python -m pytest -n auto --dist loadfile

# Packages of the services would change the versions of others, so they have an environment of their own above .venv.
$(SERVING): pyproject.toml $(INSTALLED)
	@echo "making .venv-services (once; a minute)"
	@$(PYTHON) -m venv .venv-services
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$(.venv-services/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rlcl-dev.pth
	@.venv-services/bin/python -m pip install --quiet --disable-pip-version-check -e '.[services]'
	@command -v slurmctld > /dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -qq \
		&& apt-get install -y -qq slurm-wlm munge > /dev/null; } || echo "Slurm cannot be installed; its tests are skipped"
	@touch $@

services: $(SERVING)  ## Install Ray, Slurm (as root) and trackers, run their tests, stop them
	RLCL_SERVICES=1 .venv-services/bin/python -m pytest tests/services

format: $(INSTALLED)  ## Let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

matrix: $(INSTALLED)  ## Run pairs of components end to end (long; ARGS=--help)
	@PYTHONPATH=tests$(if $(PYTHONPATH),:$(PYTHONPATH)) $(BIN)/python -m matrix $(ARGS)

fuzz: $(INSTALLED)  ## Try odd configs, files, environments and requests (10 min; ARGS=--help)
	@PYTHONPATH=tests$(if $(PYTHONPATH),:$(PYTHONPATH)) $(BIN)/python -m fuzz $(ARGS)

suites: $(INSTALLED)  ## Try the suites of continual RL, each with its extra (10 min; ARGS=names)
	$(BIN)/python benchmarks/suite_smoke.py $(ARGS)

benchmark: $(INSTALLED)  ## Measure speed beside bare loops and peers (long)
	$(BIN)/python benchmarks/speed/classifier.py
	$(BIN)/python benchmarks/speed/evaluation.py
	$(BIN)/python benchmarks/speed/sb3.py
	$(BIN)/python benchmarks/speed/continual.py
	$(BIN)/python benchmarks/speed/methods.py
	$(BIN)/python benchmarks/speed/step.py
	$(BIN)/python benchmarks/speed/scaling.py
	$(BIN)/python benchmarks/speed/reinforcement.py
	$(BIN)/python benchmarks/speed/environments.py
	$(BIN)/python benchmarks/speed/continual_rl.py
	$(BIN)/python benchmarks/speed/memories.py
	$(BIN)/python benchmarks/speed/bench.py
	$(BIN)/python benchmarks/speed/bootstrap.py
	$(BIN)/python benchmarks/speed/serving.py

$(RELEASING): pyproject.toml $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[release]'
	@touch $@

docs: $(RELEASING)  ## Build the documentation into site/; broken links are errors
	@$(BIN)/python -m mkdocs build

release: $(RELEASING)  ## Build, test and tag a release: make release VERSION=0.2.0; uploads nothing
	@$(BIN)/python .ci/release.py $(VERSION) $(ARGS)

clean:  ## Remove .venv, .venv-services and caches; runs stay
	rm -rf .venv .venv-services .mypy_cache .ruff_cache .pytest_cache
