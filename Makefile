# `make demo` shows the whole thing on a fresh machine; `make test` runs the tests. `make help` lists the rest.
PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= demo
# The versions that are tested together; `make test CONSTRAINTS=` takes the newest.
CONSTRAINTS ?= -c constraints.txt
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint docs wheel benchmark clean

help: ## List the targets.
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: $(VENV)/.installed ## Draw the sample collection, train on it, evaluate, open the search page.
	$(BIN)/mlcmr sample $(DEMO)
	$(BIN)/mlcmr train configs/sample/parallel.yaml --rootpath $(DEMO) --run $(DEMO)/run
	$(BIN)/mlcmr evaluate $(DEMO)/run
	$(BIN)/mlcmr index $(DEMO)/sample --run $(DEMO)/run --to $(DEMO)/index
	$(BIN)/mlcmr serve $(DEMO)/index --open

test: $(VENV)/.dev ## Run the tests.
	$(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST)

coverage: $(VENV)/.dev ## Run the tests, and list the lines that they do not reach.
	$(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term-missing $(PYTEST)

lint: $(VENV)/.dev ## Check style, types, workflows and the Dockerfile.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --quiet --offline --strict-collection .github
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/hadolint Dockerfile

docs: $(VENV)/.dev ## Build the documentation into docs/_build.
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build

wheel: $(VENV)/.dev ## Build the wheel into dist/.
	rm -rf dist
	$(BIN)/python -m build --wheel

benchmark: $(VENV)/.dev ## Measure speed and memory against the published code's figures.
	$(BIN)/python -m benchmarks

clean: ## Remove what these targets made.
	rm -rf $(VENV) $(DEMO) dist docs/_build

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q $(CONSTRAINTS) -e '.[search]'
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install -q $(CONSTRAINTS) -e '.[dev]'
	touch $@
