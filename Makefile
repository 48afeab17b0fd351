# Two commands do everything: `make demo` and `make test`. Both make a private .venv on first use.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The first Python on the path that is new enough. Another one: make demo PYTHON=/path/to/python3
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# Installs Debian packages without a word where that is allowed (root on Debian); fails where it is not.
apt = { [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ] && command -v apt-get >/dev/null && \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(1); } \
	>/dev/null 2>&1

.PHONY: demo test check lint types docs smoke chromium postgres format shown train clean
.NOTPARALLEL: # check ends with the line that counts the tests

demo: $(VENV)/.installed
	@mkdir -p demo
	@$(BIN)/aligntax scan --sample --report demo/report.html

test: $(VENV)/.dev chromium postgres
	@$(BIN)/pytest -rfEs -n auto --maxprocesses 4

check: lint types docs smoke test

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(VENV)/.dev
	@$(BIN)/mypy

docs: $(VENV)/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The built wheel, alone in an environment without development packages, scans its sample.
smoke: $(VENV)/.dev
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(BIN)/python -m hatchling build -t wheel -d "$$dir" >/dev/null; \
	$(BIN)/python -m venv "$$dir/venv"; \
	"$$dir/venv/bin/pip" --quiet --disable-pip-version-check install "$$dir"/*.whl; \
	cd "$$dir"; venv/bin/aligntax doctor; \
	venv/bin/aligntax scan --sample --report report.html >summary.txt; \
	head -n 1 summary.txt; test -s report.html

# The tests of the report look at it in a real browser.
chromium:
	@for name in chromium chromium-browser google-chrome; do \
	  command -v $$name >/dev/null && exit 0; done; \
	$(call apt,chromium fonts-liberation) || \
	echo "No Chromium here, and it cannot be installed without root on Debian:" \
	  "the tests marked 'browser' will be skipped. Install chromium to run them." >&2

# The tests of the store start a PostgreSQL server of their own, in a temporary folder, from these binaries.
postgres:
	@command -v initdb >/dev/null && exit 0; \
	ls /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb 2>/dev/null | grep -q . && exit 0; \
	$(call apt,postgresql) || \
	echo "No PostgreSQL here, and it cannot be installed without root on Debian:" \
	  "the tests marked 'postgres' will be skipped. Install postgresql to run them." >&2

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Rewrites what the documentation shows of real runs: outputs and the picture of the report.
shown: $(VENV)/.dev chromium
	@$(BIN)/python docs/shown.py

train: $(VENV)/.dev
	@test -n "$(DATA)" || { echo "say where the labelled responses are: make train DATA=folder" >&2; exit 2; }
	@$(BIN)/python -m aligntax.detect.train --data "$(DATA)"

$(BIN)/pip:
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "aligntax needs Python 3.11 or newer. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(call apt,python3-venv) || { \
	  echo "this Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml hatch_build.py src/aligntax/detect/native.c | $(BIN)/pip
	@echo "Installing aligntax into $(VENV); this takes a minute, once." >&2
	@$(PIP) install -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what the tests need into $(VENV)." >&2
	@$(PIP) install -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) demo site dist
