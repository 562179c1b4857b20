# `make results` sets up and runs the main job with its figures. `make check` sets up, lints, checks types and runs the
# quick tests that need no Ray, in some three minutes; `make test` runs all, as CI does.
# `make docs` builds the website into site/.
# PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# Compiled files are kept, those of the tests' assertions among them, whatever the shell has set: the next run is faster.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: results lint check test smoke docs clean

results: $(READY)
	$(BIN)/python -m dvq_ray.sweep sweeps/static_prior.yaml
	$(BIN)/python -m analysis results/static_prior

smoke: $(READY)
	$(BIN)/python -m dvq_ray.sweep sweeps/smoke.yaml

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not ray and not long and not slow"

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 15

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m mkdocs build

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv
