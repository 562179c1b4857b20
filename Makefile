# `make results` sets up and runs the main job with its figures; `make test` sets up and runs every check.
# PYTHON=python3.12 picks another interpreter.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: results test smoke clean

results: $(READY)
	$(BIN)/python -m dvq_ray.sweep sweeps/static_prior.yaml
	$(BIN)/python -m analysis results/static_prior

smoke: $(READY)
	$(BIN)/python -m dvq_ray.sweep sweeps/smoke.yaml

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv
