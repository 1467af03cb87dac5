# Everything a developer does with this repository; `make help` lists it.

PYTHON ?= $(or $(shell command -v python3.11),python3)
VENV := .venv
INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/python

TFX_VENV := .venv-tfx
TFX_INSTALLED := $(TFX_VENV)/.installed
TFX_SAMPLE := --config configs/movielens_small.yaml

CONFORMANCE_VENV := .venv-conformance
CONFORMANCE_INSTALLED := $(CONFORMANCE_VENV)/.installed

FUZZ_FOLDER := .cache/fuzz
FUZZ_INSTALLED := $(FUZZ_FOLDER)/.installed

AUDIT_VENV := .venv-audit
AUDIT_INSTALLED := $(AUDIT_VENV)/.installed

DOCS_VENV := .venv-docs
DOCS_INSTALLED := $(DOCS_VENV)/.installed

ROOMS := configs preprocessing models trainer serving reki examples benchmarks
BAZEL ?= bazel
BAZEL_FILES := BUILD MODULE.bazel WORKSPACE bazel tests $(ROOMS)
BUILDIFIER_VERSION := 8.2.1
BUILDIFIER_FOLDER := .cache/buildifier-$(BUILDIFIER_VERSION)
BUILDIFIER := $(BUILDIFIER_FOLDER)/node_modules/.bin/buildifier
COMPILE := $(VENV)/bin/uv pip compile --quiet --python-version 3.11 --python-platform linux \
	--custom-compile-command "make requirements" --annotation-style line $(if $(UPGRADE),--upgrade)

# TensorFlow Recommenders needs Keras 2, and TensorFlow reads both variables only once, when it is imported.
export TF_USE_LEGACY_KERAS := 1
export TF_CPP_MIN_LOG_LEVEL := 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo evidence tfx test test-all fuzz lint format bazel-test docs wheel requirements audit sbom

help: ## list the targets
	@echo "Targets of this Makefile:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## create .venv with Python 3.11 and install the pinned packages (once)
	@echo "setup: $(VENV) is ready"

$(INSTALLED): requirements.txt requirements-dev.txt
	@$(call check_python,setup)
	@echo "setup: installing the pinned packages into $(VENV); takes minutes and 3.5 GB of disk, once"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --disable-pip-version-check $(if $(CI),--quiet) \
		-r requirements.txt -r requirements-dev.txt
	@touch $@

demo: setup ## the whole job on the bundled MovieLens sample (QUICK=1: one seed, three epochs)
	@echo "demo: answers to a served ranking on the bundled MovieLens sample; results go to out/demo"
	@$(RUN) -m examples.movielens_small.demo $(if $(filter-out 0,$(QUICK)),--quick)

evidence: setup ## a part of the study (PART=main: MovieLens-1M, hours; PART=music and others: minutes)
	@$(RUN) -m examples.evidence run $(or $(PART),main)

tfx: setup $(TFX_INSTALLED) ## train, judge and push a model of the bundled sample through a TFX pipeline
	@echo "tfx: examples to a pushed model on the bundled MovieLens sample; results go to out/tfx"
	@$(RUN) -m preprocessing all $(TFX_SAMPLE)
	@$(TFX_VENV)/bin/python -m trainer.tfx_pipeline $(TFX_SAMPLE) --pipeline-root out/tfx

$(TFX_INSTALLED): requirements-tfx.txt | setup
	@$(RUN) -c 'import platform as p; assert p.machine() == "x86_64"; \
		assert int(p.libc_ver()[1].split(".")[1]) >= 39' 2>/dev/null || { \
		echo "tfx: ML Metadata, which TFX needs, has no package for this system: it takes Linux on"; \
		echo "     x86_64 with glibc 2.39 or newer, such as Ubuntu 24.04 or Debian 13."; exit 1; } >&2
	@echo "tfx: installing TFX and its pinned packages into $(TFX_VENV); takes minutes and 3.3 GB of disk, once"
	@$(RUN) -m venv --clear $(TFX_VENV)
	@$(TFX_VENV)/bin/python -m pip install --disable-pip-version-check $(if $(CI),--quiet) \
		-r requirements-tfx.txt || { \
		echo "tfx: pip could not install TFX. One of its packages, pyfarmhash, is compiled on this machine:"; \
		echo "     it needs a C++ compiler and Python's headers (Debian, Ubuntu: apt-get install g++ python3.11-dev)"; \
		exit 1; } >&2
	@touch $@

# Two clients of other people's making, each in an environment of its own: their packages overlap.
$(CONFORMANCE_INSTALLED): requirements-conformance.txt | setup
	@echo "test: installing clients of other people's making into $(CONFORMANCE_VENV), once"
	@for client in min-tfs-client tensorflow-protobuf; do \
		$(RUN) -m venv --clear $(CONFORMANCE_VENV)/$$client && \
		$(CONFORMANCE_VENV)/$$client/bin/python -m pip install --disable-pip-version-check --quiet \
			--constraint requirements-conformance.txt grpcio $$client || exit 1; done
	@touch $@

# By name: ordered by number of tests, long files with few tests would come last, on one core, and
# rooms could not stay on one worker (tests/conftest.py).
test: setup $(CONFORMANCE_INSTALLED) ## run the fast test suite
	@echo "test: the fast suite (make test-all runs the slow tests too)"
	@$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: setup $(CONFORMANCE_INSTALLED) ## run every test, the slow ones too
	@echo "test-all: every test"
	@$(RUN) -m pytest

fuzz: setup $(FUZZ_INSTALLED) ## try every parser, and the REST API, with 100,000 inputs (CASES=1000 PARSERS="answers csv")
	@echo "fuzz: an hour or more; what is found goes to out/fuzz"
	@PYTHONPATH=$(FUZZ_FOLDER) $(RUN) -m tests.fuzz $(PARSERS) --cases $(or $(CASES),100000)

$(FUZZ_INSTALLED): requirements-fuzz.txt | setup
	@echo "fuzz: installing Atheris and schemathesis into $(FUZZ_FOLDER), once; for Linux on x86_64"
	@$(RUN) -m pip install --disable-pip-version-check --quiet --upgrade --target $(FUZZ_FOLDER) \
		-r requirements-fuzz.txt
	@touch $@

lint: setup ## check style and import order (ruff), types (mypy) and BUILD files (buildifier)
	@echo "lint: ruff, mypy and buildifier change nothing here; make format repairs the layout"
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy $(ROOMS) bazel hatch_build.py docs/generated_reference.py docs/notebooks.py
	@$(call with_buildifier,lint,-mode=check -lint=warn)

format: setup ## sort imports and lay out the code and the BUILD files
	@echo "format: rewriting the layout of Python and BUILD files"
	@$(RUN) -m ruff check --select I --fix .
	@$(RUN) -m ruff format .
	@$(call with_buildifier,format,-mode=fix)

bazel-test: setup ## run the tests under Bazel (skipped where Bazel is missing)
	@if ! command -v $(BAZEL) >/dev/null; then \
		echo "bazel-test: skipped, no '$(BAZEL)' on the PATH (Debian: apt-get install bazel-bootstrap)"; \
	else \
		case "$$($(BAZEL) --version)" in \
			"bazel "[789].*|"bazel "[1-9][0-9].*) options=--config=online;; \
			*) options=--python_path="$(CURDIR)/$(RUN)";; \
		esac; \
		echo "bazel-test: $(BAZEL) test $$options //..."; \
		$(BAZEL) test $$options //...; \
	fi

docs: $(DOCS_INSTALLED) ## build the documents' site from docs/ into out/docs
	@echo "docs: a warning, such as a link that leads nowhere, fails the build"
	@$(DOCS_VENV)/bin/sphinx-build -W --keep-going --quiet -E -b html docs out/docs
	@echo "docs: open out/docs/index.html"

$(DOCS_INSTALLED): requirements-docs.txt
	@$(call check_python,docs)
	@echo "docs: installing Sphinx and its pinned packages into $(DOCS_VENV); takes 190 MB of disk, once"
	@$(PYTHON) -m venv --clear $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --disable-pip-version-check $(if $(CI),--quiet) \
		-r requirements-docs.txt
	@touch $@

wheel: setup ## build out/wheel/reki-*.whl, for use beside other code
	@$(VENV)/bin/uv build --quiet --wheel --out-dir out/wheel
	@echo "wheel: $$(ls out/wheel/reki-*.whl); pip install 'FILE[all]' takes it with all it can do"

requirements: setup ## pin requirements*.in to requirements*.txt (UPGRADE=1 takes newer versions)
	@echo "requirements: resolving all requirements*.in for Python 3.11 on Linux"
	@$(COMPILE) --generate-hashes requirements.in -o requirements.txt
	@$(COMPILE) --generate-hashes requirements-dev.in -o requirements-dev.txt
	@$(COMPILE) requirements-encoders.in -o requirements-encoders.txt
	@$(COMPILE) requirements-gguf.in -o requirements-gguf.txt
	@$(COMPILE) requirements-tracking.in -o requirements-tracking.txt
	@$(COMPILE) requirements-tracing.in -o requirements-tracing.txt
	@$(COMPILE) requirements-conformance.in -o requirements-conformance.txt
	@$(COMPILE) requirements-fuzz.in -o requirements-fuzz.txt
	@$(COMPILE) requirements-docs.in -o requirements-docs.txt
	@$(COMPILE) requirements-gpu.in -o requirements-gpu.txt
	@$(subst --python-platform linux,--python-platform x86_64-manylinux_2_39,$(COMPILE)) \
		requirements-tfx.in -o requirements-tfx.txt
	@$(COMPILE) --generate-hashes requirements-audit.in -o requirements-audit.txt

audit: $(AUDIT_INSTALLED) ## look pinned packages up among known vulnerabilities (FILES=requirements.txt)
	@failed=; for file in $(or $(FILES),$(wildcard requirements*.txt)); do \
		echo "audit: asking PyPI about the packages of $$file"; \
		$(AUDIT_VENV)/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off \
			--requirement $$file || failed="$$failed $$file"; done; \
	if [ -n "$$failed" ]; then \
		echo "audit: a vulnerability is known, or a package could not be looked up:$$failed" >&2; exit 1; \
	fi

sbom: $(AUDIT_INSTALLED) ## list the pinned packages in out/sbom: a CycloneDX document for each requirements*.txt
	@mkdir -p out/sbom
	@for file in $(or $(FILES),$(wildcard requirements*.txt)); do \
		PYTHONWARNINGS=ignore $(AUDIT_VENV)/bin/cyclonedx-py requirements $$file --pyproject pyproject.toml \
			--output-reproducible --output-file out/sbom/$${file%.txt}.cdx.json || exit 1; done
	@echo "sbom: out/sbom has the packages of $(or $(FILES),$(wildcard requirements*.txt))"

$(AUDIT_INSTALLED): requirements-audit.txt
	@$(call check_python,audit)
	@echo "audit: installing pip-audit and cyclonedx-bom into $(AUDIT_VENV); takes 90 MB of disk, once"
	@$(PYTHON) -m venv --clear $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip install --disable-pip-version-check $(if $(CI),--quiet) \
		-r requirements-audit.txt
	@touch $@

# Argument: the target's name for messages.
define check_python
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "$(1): '$(PYTHON)' does not run Python 3.11, which the pinned packages need."; \
		echo "$(1): install Python 3.11 or name it: make $(1) PYTHON=/path/to/python3.11"; exit 1; } >&2; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(1): '$(PYTHON)' has no venv module. On Debian and Ubuntu: apt-get install python3.11-venv"; \
		exit 1; } >&2
endef

# Arguments: the target's name for messages, buildifier's options. The npm package ships the program itself.
define with_buildifier
	if ! command -v npm >/dev/null; then \
		echo "$(1): buildifier skipped, npm is not installed"; \
	else \
		test -x $(BUILDIFIER) || npm install --silent --no-save --no-package-lock --ignore-scripts \
			--prefix $(BUILDIFIER_FOLDER) @bazel/buildifier@$(BUILDIFIER_VERSION) || { \
			echo "$(1): npm could not install buildifier $(BUILDIFIER_VERSION)" >&2; exit 1; }; \
		$(BUILDIFIER) $(2) -r $(BAZEL_FILES); \
	fi
endef
