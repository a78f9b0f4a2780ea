# make demo: score the example pictures.   make test: every check.   make clean: forget both.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test clean

demo: $(VENV)/.installed
	$(VENV)/bin/mllm-iqa score mllm_iqa/examples

test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing mllm-iqa into $(VENV); the first time takes a few minutes."
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing mllm-iqa and its development tools into $(VENV); the first time takes a few minutes."
	$(PIP) install --editable '.[dev]'
	$(PIP) install --no-deps 'piq>=0.8,<0.9'
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
