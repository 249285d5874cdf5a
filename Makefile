# Two commands do everything: `make solve` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
DRAFT := qwen2.5-coder-0.5b
TARGET := qwen2.5-coder-1.5b
TORCH ?= 'torch>=2.6'

# the question reaches the shell as an environment variable, so that no quote in it can break out
export Q

.PHONY: help solve test test-all fuzz check clean

help:
	@echo "make solve [Q='...']  set up, fetch the default model pair, think about a question"
	@echo "make test             set up, fetch what the tests need, run the suite"
	@echo "make test-all         ... with the tests that need torch"
	@echo "make fuzz             thousands of requests, right and wrong, against the server"
	@echo "make check            ruff, mypy --strict, pyright"

solve: .venv/tuned
	@if [ -n "$$Q" ]; then printf '%s' "$$Q" | $(BIN)/forethought solve -; \
	else $(BIN)/forethought solve --file examples/question.txt; fi

test: .venv/dev
	$(BIN)/forethought models pull smollm2-135m $(DRAFT) $(TARGET)
	$(BIN)/python -m pytest -m 'not torch'
	@$(MAKE) --no-print-directory .venv/platform/made
	.venv/platform/bin/python -m pytest tests/test_langgraph_server.py

test-all: test .venv/train
	$(BIN)/python -m pytest -m torch

fuzz: .venv/dev
	FORETHOUGHT_FUZZ=500 $(BIN)/python -m pytest -s tests/test_server_schema.py

check: .venv/train
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright

clean:
	rm -rf .venv build src/*.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 2; }
	$(PYTHON) -m venv .venv

# once a machine: which quantisation decodes fastest here, for --quant auto
.venv/tuned: .venv/run
	@$(BIN)/forethought models pull $(DRAFT) $(TARGET)
	@for model in $(DRAFT) $(TARGET); do $(BIN)/forethought models tune $$model --quant q4_0 || exit; done
	@touch $@

# the stamps hold what is installed; setuptools would reuse a stale build folder
.venv/run: pyproject.toml | .venv/bin/python
	@command -v c++ >/dev/null || { echo "A C++ compiler is needed to build llama.cpp: see README.md, Requirements"; exit 2; }
	@echo "installing; building llama.cpp takes 5 to 6 minutes the first time"
	rm -rf build
	$(BIN)/python -m pip install --quiet --editable '.[llama]'
	@touch $@

# e.g. TORCH='torch --index-url https://download.pytorch.org/whl/cpu': the CPU build takes less room
.venv/train: pyproject.toml .venv/dev
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[dev,train]'
	@touch $@

# LangGraph's server wants older packages than other tests do; pip keeps the llama.cpp that it built
.venv/platform/made: pyproject.toml .venv/dev
	$(PYTHON) -m venv .venv/platform
	.venv/platform/bin/python -m pip install --quiet --editable '.[platform]' hypothesis pytest pytest-asyncio
	@touch $@

.venv/dev: pyproject.toml | .venv/bin/python
	@command -v c++ >/dev/null || { echo "A C++ compiler is needed to build llama.cpp: see README.md, Requirements"; exit 2; }
	rm -rf build
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/run
