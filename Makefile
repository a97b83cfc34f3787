# `make demo` and `make test` are all that a machine with Python >= 3.11 and PyPI needs.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
QUANTIZED := .quantized
EXTRAS := .extras
LOWEST := .lowest
DOCS := .docs

# Where the environment forbids bytecode, every process would compile all of arcvit and every worker
# rewrite all tests, each time.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-quantized test-extras test-lowest torture lint docs check clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	@echo "installing into $(VENV): about 6 GB with torch, some minutes where nothing is cached"
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	    --constraints constraints.txt --editable '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'; \
	fi
	@touch $@

# Beside the environment, not in it, each in a folder of its own: transformers imports torchao
# wherever it finds it, what is an extra must not be there for the other tests, and two versions
# don't fit into one environment. $(call beside,FOLDER,PACKAGES AND OPTIONS)
define beside
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python --target $(1) $(2); \
	else \
	  $(BIN)/python -m pip install --quiet --upgrade --target $(1) $(2); \
	fi
	@touch $(1)/.ready
endef

$(QUANTIZED)/.ready: $(READY)
	$(call beside,$(QUANTIZED),--no-deps --constraint constraints.txt torchao)

# What of ray[serve] Ray Serve itself needs: with the rest of it every node of a cluster starts a
# dashboard's agent, which takes longer than the tests.
$(EXTRAS)/.ready: $(READY)
	$(call beside,$(EXTRAS),--constraint constraints.txt datasets webdataset scipy submitit ray fastapi grpcio-reflection \
	  onnx onnxscript onnxruntime \
	  starlette uvicorn python-multipart prometheus-client 'tritonclient[http]' httpx schemathesis)

# The browser's runtime is npm's: where it can't be had, the tests of the page are skipped.
ORT_WEB := $(EXTRAS)/onnxruntime-web.tgz
$(ORT_WEB): $(EXTRAS)/.ready src/arcvit/export/web/runtime.py
	@version=$$(sed -n 's/^VERSION = "\(.*\)"/\1/p' src/arcvit/export/web/runtime.py); \
	if command -v npm >/dev/null 2>&1; then \
	  cd $(EXTRAS) && npm pack --silent "onnxruntime-web@$$version" >/dev/null && \
	  mv "onnxruntime-web-$$version.tgz" onnxruntime-web.tgz || \
	  echo "npm gives no onnxruntime-web $$version: the page in the browser isn't tested"; \
	fi

$(LOWEST)/.ready: $(READY) lowest.txt
	$(call beside,$(LOWEST),--no-deps --requirement lowest.txt)

$(DOCS)/.ready: $(READY)
	$(call beside,$(DOCS),--constraint constraints.txt mkdocs-material 'mkdocstrings[python]')

demo: $(READY) ## Teach two bundled tasks and write runs/demo/index.html
	$(BIN)/arcvit demo

# One thread a worker: on two cores, more would wait for one another. Each begins with its half of the
# files, so that what the tests of a file share is made once.
test: $(READY) ## Run the tests, slow ones left out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu and not torture"

test-slow: $(READY) ## Run the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "slow and not gpu and not torture"

test-quantized: $(QUANTIZED)/.ready ## Run the tests that need torchao
	PYTHONPATH=$(QUANTIZED) $(BIN)/python -m pytest tests/arc/test_quantized.py tests/arc/peft_suite/test_quantized.py

test-extras: $(EXTRAS)/.ready $(ORT_WEB) ## Run the tests that need the libraries of readers, clusters, ONNX and the server
	OMP_NUM_THREADS=1 PYTHONPATH=$(EXTRAS) ARCVIT_ORT_WEB=$(ORT_WEB) $(BIN)/python -m pytest -n 2 --dist loadfile \
	  tests/data/readers/test_containers.py \
	  tests/data/readers/test_dogs.py tests/data/make/test_fgvc_originals.py \
	  tests/executors/test_clusters.py tests/export/test_onnx.py tests/export/web tests/serve \
	  tests/cli/test_serve.py tests/test_private_names.py

# What touches the libraries in lowest.txt; torch is the environment's. The two files that are left
# out hold equations of torch alone.
test-lowest: $(LOWEST)/.ready ## Run the tests of adapters and backbones on the lowest versions
	PYTHONPATH=$(LOWEST) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not torture" \
	  tests/test_lowest.py tests/test_private_names.py tests/arc tests/backbones tests/engine \
	  tests/export tests/methods \
	  --ignore tests/arc/test_fused.py --ignore tests/arc/test_functional.py

# By itself, as it takes long; ARCVIT_SEED=1 make torture draws others.
torture: $(READY) ## Run what spoils and kills at random, a thousand times over
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m torture

lint: $(READY) ## Style, types, import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

docs: $(DOCS)/.ready ## Build the documentation into site/; fails on a broken link
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=$(DOCS) $(BIN)/python -m mkdocs build --strict

check: lint test test-slow test-quantized test-extras test-lowest docs ## The full gate, as CI runs it

clean: ## Remove the environment and caches
	rm -rf $(VENV) $(QUANTIZED) $(EXTRAS) $(LOWEST) $(DOCS) site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
