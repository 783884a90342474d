# Everything a user or CI calls. Each target makes the environment by itself (venv, pip, lock file).
# `make demo` and `make test` are the two commands of the README.

VENV   ?= .venv
PYTHON ?= $(VENV)/bin/python
BASE_PYTHON ?= python3
TRIAGE  = $(VENV)/bin/celery-triage
STAMP   = $(VENV)/.installed

# The incident as it was recorded from the lab; the sample report carries its own evidence.
SAMPLE  = reports/sample/evidence
ARGS   ?=

.PHONY: help env demo triage check test lint coverage-page lock jupyter clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): requirements.lock pyproject.toml
	@$(BASE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "celery-triage needs Python 3.11 or later; set BASE_PYTHON")'
	@echo "building the environment in $(VENV) …" >&2
	@$(BASE_PYTHON) -m venv $(VENV)
	@$(PYTHON) -m pip install -qq --disable-pip-version-check -r requirements.lock
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@

env: $(STAMP)  ## build the environment only

demo: $(STAMP)  ## diagnose the recorded incident (no Docker needed), write a report
	@echo "This diagnoses the recorded incident in $(SAMPLE), not a stack on this machine." >&2
	@$(TRIAGE) run --bundle $(SAMPLE) $(ARGS); code=$$?; [ $$code -le 3 ]

triage: $(STAMP)  ## diagnose the stack on this machine, write a report (ARGS="-p PROJECT")
	@$(TRIAGE) run $(ARGS); code=$$?; [ $$code -le 3 ]

check: $(STAMP)  ## the same diagnosis in the terminal (ARGS="-p PROJECT")
	@$(TRIAGE) check $(ARGS); code=$$?; [ $$code -le 3 ]

test: $(STAMP)  ## all tests; the lab's faults too where a Docker Engine answers
	@$(PYTHON) -m pytest $(ARGS)

coverage-page: $(STAMP)  ## write tests/COVERAGE.md: what is proven, what is open
	@$(PYTHON) -m tests.coverage_page

lint: $(STAMP)  ## style of the Python code
	@$(VENV)/bin/ruff check lib tests

jupyter: $(STAMP)  ## JupyterLab on the runbooks
	@$(VENV)/bin/jupyter lab runbooks

lock: pyproject.toml  ## write requirements.lock anew from pyproject.toml
	@$(BASE_PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-emit-index-url \
		--custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:  ## remove the environment and build outputs, never reports
	rm -rf $(VENV) build .pytest_cache .ruff_cache

-include tests/lab/lab.mk tests/lab/faults.mk tests/bench/bench.mk
