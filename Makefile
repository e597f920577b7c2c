# `make sweep` runs the main job, `make test` passes the tests; both set up what they need.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Times are measured on few cores: the tests share them.
JOBS ?= 2

.PHONY: sweep test check bench docs train validate site web clean

sweep: $(VENV)/.installed
	$(BIN)/lynxbench sweep $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check lynxbench tests benchmarks training
	$(BIN)/ruff format --check lynxbench tests benchmarks training
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tests/packaging_check.py

# Figures of LynxBench itself; `make bench ARGS='--full --write'` makes docs/performance.md.
bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/performance.py $(ARGS)

# What is generated from the code: the schema in results/README.md.
docs: $(VENV)/.installed-dev
	$(BIN)/python -m tests.generated --write

# Trains and exports the starter suite's models again (about an hour on one core); needs Debian's dataset-fashion-mnist.
train:
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/pip install -q -r training/requirements.txt
	.venv-train/bin/python -m training

# Every record of the reference results, and that the answers and latencies behind it are there.
validate: $(VENV)/.installed
	@if ls results/reference/*/sweep.json >/dev/null 2>&1; then $(BIN)/lynxbench validate results/reference; fi

# The leaderboard of the reference results, or of RESULTS.
RESULTS ?= results/reference
site: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[cpu,leaderboard]'
	$(BIN)/lynxbench leaderboard build $(RESULTS) --force $(ARGS)

# Bundles the pages' libraries again, from web/package-lock.json; needs Debian's nodejs and npm.
web:
	cd web && npm ci --no-audit --no-fund && npm run build

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[cpu]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check --group dev
	@touch $@

clean:
	rm -rf $(VENV) .venv-train .venv-tests dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
