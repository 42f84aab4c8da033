# One word per task. `make run` and `make test` need Python 3.11 or newer; Prometheus is fetched on Debian and its like
# (and on x86-64 Linux), elsewhere it must be there.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-oldest test-py3112 test-locked test-hosts nightly soak check coverage structure bench bench-short dashboards readme lock clean

run: .venv/runs
	@$(BIN)/gatewayz-metrics demo

test: .venv/develops
	@$(BIN)/pytest -n auto

# A fast subset with the lowest versions that we declare, and with those that the GatewayZ backend has pinned.
test-oldest: .venv/develops
	@$(BIN)/python -m tests.environments oldest backend

# The same subset with the newest versions, on a Python that lacks what Debian 12's lacks.
test-py3112: .venv/develops
	@$(BIN)/python -m tests.environments py3112

# What the image installs, by its hashes.
test-locked: .venv/develops
	@$(BIN)/python -m tests.environments locked

# Other hosts that behave differently: FastAPI on both sides of 0.137, older instrumentation.
test-hosts: .venv/develops
	@$(BIN)/python -m tests.environments hosts

# Campaigns too long for every run.
nightly: .venv/develops test-hosts test-py3112 test-locked
	@$(BIN)/pytest -m nightly --timeout 7200

# Ten minutes, five hundred clients, and an upstream that freezes, dies and comes back.
soak: .venv/develops
	@$(BIN)/python -m tests.soak

check: .venv/develops
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Lines that the tests run, those of subprocesses included.
coverage: .venv/develops
	@$(BIN)/coverage run -m pytest -n auto -q
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --skip-covered

# The modules with their lines, and the imports between packages.
structure: .venv/develops
	@$(BIN)/python -m tests.support.structure

# Every goal against its yardstick; writes docs/performance.md, its figures and its pictures. Twelve minutes, on a
# machine that does nothing else. TRICKSTER_BIN names the binary of one more yardstick.
bench: .venv/develops
	@$(BIN)/python -m tests.bench --publish

# The same in small, in two minutes; only prints.
bench-short: .venv/develops
	@$(BIN)/python -m tests.bench --form short

dashboards: .venv/develops
	@$(BIN)/python -m dashboards

readme: .venv/develops
	@$(BIN)/python -m tests.support.readme

# The versions that the image installs, for every platform, with their hashes; after a change of dependencies.
lock: .venv/develops
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra server --generate-hashes --upgrade \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.*

# Why a step failed, as one sentence out of what it wrote: $(call say,what cannot be done,whose words stand above).
# A full disk shows as many things, so the room that is left is looked at.
define say
case "$$(df -Pk . | awk 'NR == 2 && $$4 < 50000 {print "No space left"}')$$said" in \
	*"No space left"*|*"Disk quota"*) echo "$(1): the disk is full; make room for about 300 MB here and in TMPDIR.";; \
	*"ermission denied"*|*"ead-only file system"*) echo "$(1): this folder cannot be written.";; \
	*"Could not find a version"*|*"onnection"*|*"imed out"*|*"Max retries"*|*"resolution"*) \
		echo "$(1): the package index cannot be reached; check the network, PIP_INDEX_URL and HTTPS_PROXY.";; \
	*) echo "$$said"; echo "$(1): $(2)";; \
esac; exit 1
endef

.venv/python:
ifeq ($(OS),Windows_NT)
	@echo "This needs Linux or macOS; on Windows type it in WSL, or use Docker: docker compose up --build"; exit 1
endif
	@command -v $(PYTHON) >/dev/null || \
		{ echo "There is no $(PYTHON); install Python 3.11 or newer, or name one with: make PYTHON=python3.12"; exit 1; }
	@said=$$($(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and sys.version.split()[0])' 2>&1) || \
		{ echo "This needs Python 3.11 or newer, and $(PYTHON) is $$said; name one with: make PYTHON=python3.12"; exit 1; }
	@echo "Making the environment .venv ..."
	@said=$$($(PYTHON) -m venv .venv 2>&1) || { rm -rf .venv; case "$$said" in \
		*"ensurepip is not"*|*"No module named"*) echo "The environment cannot be made: $(PYTHON) has no module venv; on Debian: apt-get install python3-venv"; exit 1;; \
		*) $(call say,The environment cannot be made,$(PYTHON) -m venv .venv says so.);; esac; }
	@touch $@

# The service alone: what `make run` waits for on a fresh machine.
.venv/runs: .venv/python pyproject.toml
	@echo "Installing the service into .venv, about a hundred megabytes ..."
	@said=$$($(BIN)/pip install --quiet --disable-pip-version-check --editable '.[server]' 2>&1) || \
		{ $(call say,The packages cannot be installed,pip says so.); }
	@touch $@

.venv/develops: .venv/runs
	@echo "Installing the development tools into .venv ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	@touch $@
