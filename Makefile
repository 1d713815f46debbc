# Everything a person types. The first command sets up .venv by itself; the next ones skip that.

# Settings, given behind the command: make demo CONCEPTS="wingnut impeller" REVIEWERS=scripted
PYTHON   ?=
REVIEWERS ?= people
CONCEPTS  ?=
AIRFLOW_PORT ?= 8080
MLFLOW_PORT  ?= 5000
TESTS ?= tests

BIN := .venv/bin

.PHONY: help demo test test-airflow test-others numerics lint format train-model bench setup clean distclean
.DEFAULT_GOAL := help

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  settings of demo: REVIEWERS=scripted CONCEPTS="wingnut" FRESH=1 AIRFLOW_PORT=8080 MLFLOW_PORT=5000 (0 = any free port)'

demo: setup ## run the main job with real parts, up to a signed release
	@exec $(BIN)/python -m seedbank.demo --reviewers "$(REVIEWERS)" --concepts "$(CONCEPTS)" \
	    --airflow-port $(AIRFLOW_PORT) --mlflow-port $(MLFLOW_PORT) $(if $(FRESH),--fresh)

test: lint ## check style and types, then run every test: two at a time, and beside them those that run Airflow, one after the other
ifeq ($(TESTS),tests)
	@$(MAKE) --no-print-directory --jobs=2 test-airflow test-others
else
	@exec $(BIN)/python -m pytest $(TESTS)
endif

# Half of their time these wait for Airflow. In a process of their own, because their environment is that of their Airflow. The demo comes
# first: nothing takes longer.
test-airflow:
	@MAKEFLAGS= OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/e2e tests/dags

# Whole files in this order, which begins the long ones early, so that no worker is left with one when the other is done.
test-others:
	@MAKEFLAGS= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/integration tests/unit

numerics: setup ## the tests that compute, with each kind of kernel this processor has and with 1, 2 and 8 threads
	@exec scripts/numerics

lint: setup ## ruff, mypy --strict, and which part may import which
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet . && $(BIN)/mypy && $(BIN)/lint-imports --cache-dir .seedbank/cache/imports

format: setup ## let ruff mend what it can
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

train-model: setup ## train the shipped model "parts" again (minutes on a GPU, hours on a CPU; resumes)
	@exec $(BIN)/python -m seedbank.models.parts.train --work .seedbank/train --out src/seedbank/models/parts/weights

bench: setup ## run the product's own stages on the shipped photos and measure them (docs/results.md)
	@exec $(BIN)/python benchmarks/tail_lift.py

setup:
	@python=$$(scripts/find-python "$(PYTHON)") && exec "$$python" scripts/set_up.py

clean: ## remove all state (.seedbank); a running demo must be stopped first
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m seedbank.demo --remove-state; else rm -rf .seedbank; fi

distclean: clean ## remove the environment (.venv) too
	@rm -rf .venv
