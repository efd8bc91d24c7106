# make demo and make test need Python 3.11 or newer and nothing else; make PYTHON=python3.12 picks another Python.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test test-slow fuzz lint types docs notebooks wheel wheel-run matrix bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pyrovae needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

demo: $(READY)  ## train a VAE on real digits, offline; pictures and numbers go to runs/vae
	$(BIN)/python examples/vae.py

# Each worker uses one core. PYTHONSAFEPATH is -P for the workers too.
test: $(READY)  ## run the tests, a few minutes
	PYTHONSAFEPATH=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

test-slow: $(READY)  ## run the tests that take long
	$(BIN)/python -P -m pytest -m slow

fuzz: $(READY)  ## call public functions with hostile arguments and files for an hour
	PYTHONSAFEPATH=1 OMP_NUM_THREADS=1 PYROVAE_FUZZ_SECONDS=3600 $(BIN)/python -m pytest -n auto tests/fuzz

lint: $(READY)  ## check rules and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(READY)  ## build the site into docs/_build/html; each notebook is run, and a warning is an error
	$(BIN)/python -m sphinx -W -n --keep-going docs docs/_build/html

notebooks: $(READY)  ## turn the text notebooks into docs/_build/notebooks/*.ipynb
	mkdir -p docs/_build/notebooks
	for text in docs/notebooks/*.md; do \
	  $(BIN)/jupytext --quiet --to ipynb --output docs/_build/notebooks/$$(basename "$$text" .md).ipynb "$$text" || exit 1; \
	done

# The sdist is built first, and the wheel from it, so a file that the sdist lacks is missed here.
wheel: $(READY)  ## build sdist and wheel, check what an index shows, and the files in an empty environment
	rm -rf dist build
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m venv --without-pip build/empty
	$(BIN)/python -m pip --python build/empty install --quiet --no-deps dist/*.whl
	$(BIN)/python tests/wheel.py build/empty

wheel-run: wheel  ## install the wheel alone into an empty environment; train and report there
	$(BIN)/python tests/wheel_run.py

# ROWS=lowest tries one of the two; TESTS=all runs all fast tests, which take twice as long. It needs no .venv, so that
# one environment of 7 GB is enough.
ROWS ?= lowest newest
TESTS ?= part
matrix:  ## run fast tests with the lowest and the newest versions; writes docs/matrix.md
	rm -rf dist build
	$(PYTHON) -m venv build/builder
	build/builder/bin/python -m pip install --quiet build
	build/builder/bin/python -m build --quiet
	$(PYTHON) tests/matrix.py $(ROWS) --tests "$(TESTS)"

types: wheel  ## check the types of the installed wheel with mypy
	$(BIN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl
	cd build && MYPYPATH=site ../$(BIN)/mypy --config-file ../setup.cfg -p pyrovae

bench: $(READY)  ## measure speed against peers; installs NumPyro into an environment of its own
	$(PYTHON) -m venv .bench
	.bench/bin/python -m pip install --quiet numpyro
	$(BIN)/python benchmarks/speed.py

clean:  ## remove environments and builds; runs/ stays
	rm -rf .venv .bench build dist docs/_build *.egg-info
