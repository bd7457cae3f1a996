# Everything a fresh machine needs: Python >= 3.11, git and make.
#   make repro   data, pipeline, summary        make test   the whole suite
#   make ui      MLflow's UI                    make serve  the champion over HTTP
#   make evidence  the study: do generated images help? Hours; goes on where it was stopped
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: install install-server install-team data repro evidence test lint format ui serve summary lock

install: .venv/installed

# Rewritten only when the pins change, so the second run needs no network; and, without network, when
# the checkout was moved or copied: commands find their Python beside them, but the library's source
# is an absolute path, and a copy would run the original's. Compiled once here: the stages would
# otherwise each compile what they import where bytecode cannot be written.
ifneq ($(shell test "$$(cat .venv/installed 2>/dev/null)" = "$$(pwd -P)" && echo here),here)
.PHONY: .venv/installed
endif
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python >= 3.11 is needed; say make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$$(sed -n 's/^uv==//p' requirements.lock)"
	$(BIN)/python -m uv venv --quiet --relocatable --allow-existing --python $(BIN)/python .venv
	$(BIN)/python -m uv pip install --python $(BIN)/python --compile-bytecode --requirement requirements.lock
	$(BIN)/python -m uv pip install --python $(BIN)/python --no-deps --no-build-isolation --editable .
	pwd -P > $@

# Drivers for a team's database and object store.
install-server: install
	$(BIN)/python -m uv pip install --python $(BIN)/python --requirement requirements-server.lock

# For tests/pipeline/test_team.py, which also needs Debian's postgresql and openssh-server; moto stands
# for the object store.
install-team: install-server
	$(BIN)/python -m uv pip install --python $(BIN)/python --constraint requirements-server.lock "moto[s3]==5.2.5"

data: install
	@$(BIN)/lookalike data render

repro: data
	@$(BIN)/dvc repro
	@$(BIN)/lookalike summary

# After `make repro`, whose images it studies.
evidence: install
	@$(BIN)/lookalike study evidence/study.yaml --output evidence

# A worker per core, one thread each: most tests are too small for more. The long pipeline tests start
# first, and those of one file share what they have set up. A crash ends the suite: xdist would wait
# for the crashed worker's successor for ever.
test: install
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 \
		--dist loadfile --no-loadscope-reorder --max-worker-restart 0

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: install
	@$(BIN)/lookalike ui

serve: install
	@$(BIN)/lookalike serve

summary: install
	@$(BIN)/lookalike summary

# Pins without addresses; the second file holds those of the first, and the drivers.
COMPILE := $(BIN)/python -m uv pip compile pyproject.toml --universal --python-version 3.11 \
	--no-annotate --no-header --no-emit-index-url --quiet
lock: install
	$(COMPILE) --extra dev --upgrade --output-file requirements.lock
	$(COMPILE) --extra server --constraint requirements.lock --output-file requirements-server.lock
