# `make` lists the targets. `make book` and `make test` are the two that matter.
#
# PYTHON=/path/to/python names a Python; without it the newest one that fits is taken.
# TORCH=cuda installs PyTorch's build for graphics cards.
export PYTHON TORCH
# What is set for other programs must not reach this one.
unexport CDPATH PYTHONHOME PYTHONPATH PYTHONSTARTUP

# -m instead of the commands beside it: those contain the path of the folder.
IN_VENV = .venv/bin/python -m
READ = requirements.txt
# Tests of what is built, once the chapters are executed: those that change or measure it, alone;
# of the others, the longest begin.
ALONE = tests/test_build.py tests/test_lighthouse.py
AFTER = tests/test_launch.py tests/test_browser.py tests/test_live_browser.py \
	tests/test_printing.py tests/test_notebooks.py
PAIRS = $(shell grep -l '^  formats: md:myst,ipynb' book/*.md)

.PHONY: help environment workshop book serve test reference lint sync clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-14s%s\n", $$1, $$2 }' Makefile

environment: ## create or update .venv, to read and run the book (other targets do it by themselves)
	@sh tools/environment.sh requirements.txt

workshop: ## the same with what tests, PDF and EPUB need
	@sh tools/environment.sh requirements.txt tests/requirements.txt

book: environment ## execute the chapters, build the pages, say where they are
	@$(IN_VENV) bookext

.PHONY: notebooks
notebooks: book ## each chapter as a notebook to read and run, in _build/notebooks; `book` makes them, too

.PHONY: lab
lab: notebooks ## open these notebooks in JupyterLab
	@$(IN_VENV) jupyterlab _build/notebooks

.PHONY: write
write: workshop ## open the chapters' sources in JupyterLab, to write
	@$(IN_VENV) jupyterlab book

serve: environment ## show the built book at http://localhost:8000; PORT=8001 takes another port
	@$(IN_VENV) bookext.serve $(PORT)

.PHONY: pdf epub
pdf: workshop ## the whole book as one PDF (needs Chromium)
	@$(IN_VENV) bookext pdf

epub: workshop ## the whole book for e-readers (needs Chromium)
	@$(IN_VENV) bookext epub

.PHONY: links
links: environment ## look up the book's links to other sites (needs the internet)
	@$(IN_VENV) bookext links

test: workshop ## run every test: the package, every chapter, the built pages
	@$(IN_VENV) pytest -n logical --maxprocesses=4 --dist=loadgroup $(patsubst %,--ignore=%,$(ALONE) $(AFTER))
	@$(IN_VENV) pytest -rs $(ALONE)
	@$(IN_VENV) pytest -rs -n logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(AFTER)

reference: environment ## sample the stored reference posteriors anew (a quarter of an hour)
	@$(IN_VENV) bnnbook.reference

.PHONY: bench
bench: environment ## measure the book beside the tutorials' code (most of an hour, on a quiet machine)
	@$(IN_VENV) benchmarks $(PARTS)

.PHONY: survey
survey: environment ## execute all chapters here, and note as NAME which claims came out otherwise
	@$(IN_VENV) bookext.survey "$(NAME)"

.PHONY: constraints
constraints: workshop ## pin every package that requirements.txt brings along; UPGRADE=yes takes newer ones
	@$(IN_VENV) uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		$(if $(UPGRADE),--upgrade) --output-file constraints.txt requirements.txt tests/requirements.txt

lint: workshop ## check and format the Python code
	@$(IN_VENV) ruff check --fix
	@$(IN_VENV) ruff format

# Twice: what a reader changed in a notebook must be in the .md before the first cell is written.
sync: environment ## bring each chapter's .md and .ipynb in step; the newer one counts
	@$(IN_VENV) jupytext --quiet --sync $(PAIRS)
	@$(IN_VENV) bookext.sync
	@$(IN_VENV) jupytext --quiet --sync $(PAIRS)

clean: ## delete what was built and executed, but not .venv
	rm -rf _build
