# `make` alone prints what there is to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PAGES ?= ../shared/data/product-pages
JOBS ?= 5
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup kerberos crawl test lint format types eval bench bench-frontier bench-delivery bench-outage bench-browser soak chaos test-compose stack-down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements.txt constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing requirements.txt into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	@touch $@

$(VENV)/.ready-kerberos: $(VENV)/.ready requirements-kerberos.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-kerberos.txt -c constraints.txt
	@touch $@

setup: $(VENV)/.ready ## make the virtual environment

kerberos: $(VENV)/.ready-kerberos ## add what CLAIM_CHECK_KERBEROS=1 needs, compiled with libkrb5-dev

crawl: setup ## crawl the demo shop to a real Kafka topic, and show the records
	@deploy/local/first-crawl

test: $(VENV)/.ready-dev lint types ## lint, check types, run the tests on the real services and Chromium, JOBS files at a time
	@deploy/local/chromium
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.ready-dev ## ruff's checks and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.ready-dev ## let ruff mend what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

types: $(VENV)/.ready-dev ## mypy on the public surface
	@$(BIN)/mypy

eval: $(VENV)/.ready-dev ## F1 of the extraction on recorded pages: make eval PAGES=folder
	@$(BIN)/python -m bench.evaluate $(PAGES)

bench: $(VENV)/.ready-dev ## CPU per page of the whole path, beside plain Scrapy
	@$(BIN)/python -m bench.pages

bench-frontier: $(VENV)/.ready-dev ## the frontier beside scrapy-redis and plain Scrapy: some 20 minutes
	@$(BIN)/python -m bench.frontier

bench-delivery: $(VENV)/.ready-dev ## delivery beside raw librdkafka, the usual way and the disk: some 15 minutes
	@$(BIN)/python -m bench.delivery

bench-outage: $(VENV)/.ready-dev ## a worker's memory while Kafka is away: some 5 minutes
	@$(BIN)/python -m bench.outage

bench-browser: $(VENV)/.ready-dev ## the browser pool beside scrapy-playwright and a bare loop: some 15 minutes
	@$(BIN)/python -m bench.browser

soak: $(VENV)/.ready-dev ## 100,000 pages by four workers, one killed, the broker restarted: some 20 minutes
	@$(BIN)/python -m bench.soak

chaos: $(VENV)/.ready-dev ## hurt crawls of thousands of pages at random moments; SEED=n repeats one
	@seed=$${SEED:-$$(date +%s)}; echo "SEED=$$seed"; \
	CHAOS_SEED=$$seed CHAOS_PAGES=5000 CHAOS_KILLS=20 $(BIN)/python -m pytest -q -s tests/test_frontier_chaos.py; \
	CHAOS_SEED=$$seed ONCE_PAGES=4000 ONCE_DISTURBANCES=120 $(BIN)/python -m pytest -q -s tests/test_exactly_once.py -k whatever
	@OUTAGE_SECONDS=30 $(BIN)/python -m pytest -q -s tests/test_frontier_faults.py -k silent
	@BROWSER_KILLS=100 $(BIN)/python -m pytest -q -s tests/test_browser_hardships.py -k killed_in_the_middle
	@BROWSER_KILLS=20 $(BIN)/python -m pytest -q -s tests/test_browser_frontier.py
	@OUTAGE_SECONDS=60 $(BIN)/python -m pytest -q -s tests/test_outages.py

test-compose: $(VENV)/.ready-dev ## run the compose files, plain and secure, and hurt them: needs a Docker engine, some 30 minutes
	@$(BIN)/python -m tests.compose
	@$(BIN)/python -m tests.compose --secure

stack-down: setup ## stop the demo shop and the embedded stack; data stays
	@$(BIN)/python -m deploy.demo_shop down
	@$(BIN)/scrapy stack down

clean: stack-down ## and remove their data and the virtual environment
	@$(BIN)/scrapy stack down --wipe
	@rm -rf $(VENV) .stack
