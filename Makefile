# `make help` says what there is. It needs make and Python 3.11 or newer
# (PYTHON=/path/to/python3 names one); all else is installed into .venv, from the
# lock file alone.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
# Many a container sets it. Each of the processes would then compile all tests anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?=
ARGS ?=
JOBS ?= 4

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
TOOLS := $(VENV)/tools
DEMO := $(VENV)/installed-demo
ONLY_FOR_LOCK := uv==0.13.9
ONLY_FOR_BENCH := gunicorn==27.0.1
ONLY_FOR_MUTANTS := mutmut==3.8.1
ONLY_FOR_RELEASE := twine==7.0.0
ONLY_FOR_AUDIT := bandit==1.9.4 pip-audit==2.10.1
ONLY_FOR_SBOM := cyclonedx-bom==7.5.0
ONLY_FOR_SCHEMATHESIS := schemathesis==4.32.5
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-strip-extras --no-emit-index-url --no-emit-find-links \
	--no-config --custom-compile-command "make lock" $(UPGRADE)

BY_FILE := --dist loadscope --no-loadscope-reorder
TWO_AT_A_TIME := -n 2 $(BY_FILE)
SIDE_BY_SIDE := -n $(JOBS) $(BY_FILE)
UNASKED := and not broken and not soak

.PHONY: help
help:  ## say what there is
	@sed -n 's/^\([a-z]*\):.*##/make \1\t/p' Makefile | expand -t 16

.PHONY: demo
demo: $(DEMO)  ## see it work, on this machine alone (ARGS=--exit: end by itself)
	@$(BIN)/python -m bridge demo $(ARGS)

.PHONY: check
check: lint  ## run what a change should pass before it is shown, a minute
	@echo "tests ..."
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --hypothesis-profile=quick \
		tests/unit tests/sources tests/contract tests/architecture $(ARGS)

# What measures seconds mostly waits: all others have the time that it leaves.
.PHONY: test
test:  ## run every check, ten minutes (ARGS="-k stripe": some of the tests)
	@$(MAKE) --jobs=2 lint compiled
	@echo "tests, $(JOBS) at a time beside those that measure seconds ..."
	@$(BIN)/python -m tests.support.again \
		$(TWO_AT_A_TIME) -m "(alone or chaos) $(UNASKED)" $(ARGS) \
		--beside $(SIDE_BY_SIDE) -m "not alone and not chaos $(UNASKED)" $(ARGS)
	@$(BIN)/python -m tests.support.size

# Not part of `make test`: measuring doubles the processor time of all processes.
.PHONY: coverage
coverage: $(STAMP)  ## print the lines that no test enters, in any process (15 minutes)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov \
		-m "not alone and not chaos $(UNASKED)" $(ARGS)

.PHONY: chaos
chaos: $(STAMP)  ## kill, stall and lie for longer (SEED=1,2,3 SECONDS=60 FAULTS=worker_killed,link_reset)
	@CHAOS_SEED=$(or $(SEED),1) CHAOS_SECONDS=$(or $(SECONDS),60) \
		CHAOS_FAULTS=$(FAULTS) $(BIN)/python -m pytest -m chaos tests/chaos $(ARGS)

.PHONY: crashpoints
crashpoints: $(STAMP)  ## let a process die at every call of the main stories (ARGS="--story update")
	@$(BIN)/python -m tests.chaos.crashpoints $(ARGS)

.PHONY: soak
soak: $(STAMP)  ## load for an hour, does anything grow? (MINUTES=60 RATE=50)
	@SOAK_MINUTES=$(or $(MINUTES),60) SOAK_RATE=$(or $(RATE),50) \
		$(BIN)/python -m pytest -m soak tests/chaos/test_soak.py $(ARGS)

.PHONY: power
power: $(STAMP)  ## cut the power of Redis' machine: is anything lost? (20 minutes; SEEDS=100 ARGS="--workers 2")
	@$(BIN)/python -m tests.chaos.power $(or $(SEEDS),100) $(ARGS)

.PHONY: interleavings
interleavings: $(STAMP)  ## play every order of calls of the pairs that matter (ARGS="sync-sweep": one)
	@$(BIN)/python -m tests.chaos.pairs $(ARGS)
	@echo "with a bug put in each:"
	@$(BIN)/python -m tests.chaos.pairs --seeded $(ARGS)

.PHONY: versions
versions: $(STAMP)  ## upgrade from an earlier commit and go back, under load (OLD="b0a411f 0226bba")
	@$(BIN)/python -m tests.chaos.versions $(OLD)

.PHONY: load
load: $(STAMP)  ## 100,000 waiting events and 50,000 quiet accounts for an hour (MINUTES=60)
	@$(BIN)/python -m tests.bench.hour $(or $(MINUTES),60)

.PHONY: shared
shared: $(STAMP)  ## two bridges and another user on one Vitally key, 20 minutes (MINUTES=3)
	@$(BIN)/python -m tests.bench.shared $(or $(MINUTES),3) $(ARGS)

.PHONY: fuzz
fuzz: $(STAMP)  ## damage deliveries, files, settings, requests: does any parser break? (MINUTES=5)
	@$(BIN)/python -m tests.support.fuzz $(or $(MINUTES),5)

.PHONY: schemathesis
schemathesis: $(TOOLS)  ## does the web process answer what openapi.json says? (MINUTES=5)
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check $(ONLY_FOR_SCHEMATHESIS)
	@$(BIN)/python -m tests.support.described $(abspath $(TOOLS))/bin/st \
		--max-time $$(($(or $(MINUTES),5) * 60)) $(ARGS)

.PHONY: mutants
mutants: $(STAMP)  ## break the numbers in every small way: do the tests see it? (an hour; ARGS="money")
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(ONLY_FOR_MUTANTS)"
	@nice -n 10 $(BIN)/python -m mutmut run \
		$(foreach module,$(or $(ARGS),*),"bridge.domain.$(module).*")
	@$(BIN)/python -m mutmut results

.PHONY: bench
bench: $(STAMP)  ## measure the costs beside their goals, 15 minutes (ARGS="idle ingress": these parts)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(ONLY_FOR_BENCH)"
	@$(BIN)/python -m tests.bench $(ARGS)

.PHONY: screenshots
screenshots: $(STAMP)  ## take a picture of each page of the console into docs/screenshots (needs Chromium)
	@$(BIN)/python -m tests.support.screenshots $(ARGS)

.PHONY: size
size: $(STAMP)  ## count the lines of code, and what one event enters of them
	@$(BIN)/python -m tests.support.size

.PHONY: lint
lint: $(STAMP)  ## run every check but the tests
	@echo "form ..."
	@$(BIN)/ruff format --check --quiet . || { \
		echo "run: $(BIN)/ruff format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@echo "types ..."
	@$(BIN)/mypy
	@echo "imports ..."
	@$(BIN)/lint-imports --no-cache >$(VENV)/imports.txt || { \
		cat $(VENV)/imports.txt >&2; exit 1; }

# mypy has one processor, and each process of the tests would do this for itself.
.PHONY: compiled
compiled: $(STAMP)
	@$(BIN)/python -m pytest --quiet --collect-only >$(VENV)/tests.txt || { \
		cat $(VENV)/tests.txt >&2; exit 1; }

.PHONY: format
format: $(STAMP)  ## put the code and the documentation's tables into form
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(BIN)/python -m tests.support.docs docs/*.md deploy/env.example
	@$(BIN)/python -m tests.chaos.crashpoints --page docs/losses.md
	@$(BIN)/python -m tests.support.licences docs/supply-chain.md

.PHONY: lock
lock: $(STAMP)  ## write the lock files anew (UPGRADE=--upgrade: newest releases)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(ONLY_FOR_LOCK)"
	$(LOCK) pyproject.toml --extra dashboard \
		--output-file requirements.txt
	$(LOCK) pyproject.toml --extra dashboard --extra demo \
		--constraints requirements.txt --output-file requirements-demo.txt
	$(LOCK) pyproject.toml --all-extras --group dev \
		--constraints requirements-demo.txt --output-file requirements-dev.txt
	@$(BIN)/python .ci/extras.py requirements.txt requirements-demo.txt requirements-dev.txt

.PHONY: release
release: $(STAMP)  ## build what is published into dist/ and try it; publish nothing (a minute)
	@$(BIN)/python .ci/release.py "$(ONLY_FOR_RELEASE)"

# The bandit of these settings adds little to ruff's S rules: it is no part of `lint`.
.PHONY: audit
audit: $(TOOLS)  ## is anything locked known to be vulnerable? (OSV=FOLDER: ask files, not the network)
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check $(ONLY_FOR_AUDIT)
	@$(TOOLS)/bin/bandit --quiet --configfile pyproject.toml --recursive bridge workers
	@$(if $(OSV),$(BIN)/python -m tests.support.advisories $(OSV) requirements.txt,\
		$(TOOLS)/bin/pip-audit --strict --disable-pip --requirement requirements.txt)

# Without `redis[hiredis]`, which the lock has beside `redis`.
.PHONY: sbom
sbom: $(TOOLS)  ## list all that is locked, with its hashes, as CycloneDX into dist
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check $(ONLY_FOR_SBOM)
	@mkdir -p dist
	@version=$$($(BIN)/python -c "import bridge; print(bridge.__version__)"); \
	sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml >dist/sbom.toml
	@sed '/^[a-z0-9-]*\[/,/# via/d' requirements.txt | \
		PYTHONWARNINGS=ignore $(TOOLS)/bin/cyclonedx-py requirements - \
		--pyproject dist/sbom.toml --output-reproducible --validate \
		--output-file dist/vitally-bridge.cdx.json
	@rm dist/sbom.toml

.PHONY: clean
clean:  ## remove what make and the demo have made
	rm -rf $(VENV) .bridge-data .coverage .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache dist
	find bridge workers tests -name __pycache__ -prune -exec rm -rf {} +

# What runs, and a Redis: all that the demo needs.
$(DEMO): requirements-demo.txt
	@PYTHON="$(PYTHON)" .ci/venv $(VENV) requirements-demo.txt
	@touch $@

# All of that, and what checks it.
$(STAMP): requirements-dev.txt requirements-demo.txt
	@PYTHON="$(PYTHON)" .ci/venv $(VENV) requirements-dev.txt
	@touch $@ $(DEMO)

# Programs that are no part of the bridge, beside it, so that they change none of its versions.
$(TOOLS): $(STAMP)
	@$(BIN)/python -m venv $@
	@touch $@
