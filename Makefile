# `make` lists the targets. `make book` and `make test` are the two that matter.

# Both can be overridden, e.g. make book PYTHON=/opt/python3.11/bin/python3.11
PYTHON ?= python3.11
# .binder/requirements.txt takes PyTorch's smaller CPU build.
REQUIREMENTS ?= requirements.txt

IN_VENV = PYTHONPATH=book/_ext .venv/bin/python
# Tests of what is built, once the chapters are executed.
AFTER = tests/test_build.py tests/test_browser.py tests/test_launch.py tests/test_printing.py
PAIRS = $(shell grep -l '^  formats: md:myst,ipynb' book/*.md)

.PHONY: help environment book serve test reference lint sync clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 14

environment: ## create or update .venv (the other targets do it by themselves)
	@tools/environment.sh "$(PYTHON)" "$(REQUIREMENTS)"

book: environment ## execute the chapters, build the pages, say where they are
	@$(IN_VENV) -m bookext

serve: ## show the built book at http://localhost:8000
	@.venv/bin/python -m http.server --directory _build/html --bind localhost 8000

.PHONY: pdf epub
pdf: environment ## the whole book as one PDF (needs Chromium)
	@$(IN_VENV) -m bookext pdf

epub: environment ## the whole book for e-readers (needs Chromium)
	@$(IN_VENV) -m bookext epub

.PHONY: links
links: environment ## look up the book's links to other sites (needs the internet)
	@$(IN_VENV) -m bookext links

test: environment ## run every test: the package, every chapter, the built pages
	@$(IN_VENV) -m pytest -n logical --maxprocesses=4 --dist=loadgroup $(AFTER:%=--ignore=%)
	@$(IN_VENV) -m pytest -rs $(AFTER)

reference: environment ## sample the stored reference posteriors anew (a quarter of an hour)
	@$(IN_VENV) -m bnnbook.reference

.PHONY: bench
bench: environment ## measure the book beside the tutorials' code (most of an hour, on a quiet machine)
	@PYTHONPATH=code:book/_ext .venv/bin/python -m benchmarks $(PARTS)

lint: environment ## check and format the Python code
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

# Twice: what a reader changed in a notebook must be in the .md before the first cell is written.
sync: environment ## bring each chapter's .md and .ipynb in step; the newer one counts
	@.venv/bin/jupytext --quiet --sync $(PAIRS)
	@$(IN_VENV) -m bookext.launch
	@.venv/bin/jupytext --quiet --sync $(PAIRS)

clean: ## delete what was built and executed, but not .venv
	rm -rf _build
