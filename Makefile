# The menu. Each target sets up what it needs: an environment in .venv, from pinned versions.

PYTHON ?= python3
AIRFLOW ?= 3.3
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt
TEST := .venv/bin/python -m pytest --ignore=tests/test_packaging.py --numprocesses=auto --dist=loadfile --no-loadscope-reorder
SYSTEM := --verbose --log-cli-level=INFO --durations=5 --durations-min=1
INSTALL := .venv/bin/python install.py --constraint $(CONSTRAINTS)

# With it set, each start of Airflow compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo cluster cluster-down chaos test slow coverage matrix release kills fuzz mutants stores readers recipes warehouses docs pages mariadb system check audit bench live clean

help:  ## show this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/ready  ## backfill a week of reports on a real Airflow (DAYS=30, KEEP=1, STRIPE_API_KEY=…)
	.venv/bin/python -m demo

test: .venv/ready  ## run the tests but for those of make slow (more of both with apt-get install postgresql pgbouncer)
	$(TEST) -m "not slow"

slow: .venv/ready  ## run those that take long: kills, races, faults, servers, secrets, the sandbox's own, what the docs type
	$(TEST) -m slow

coverage: .venv/ready  ## run both, and list the lines that none of them runs
	$(TEST) --cov --cov-report=term:skip-covered

matrix: .venv/ready  ## the tests on each Airflow and Python (AIRFLOW_VERSIONS="2.11 3.3-py3.12", ARGS="tests/test_hooks.py")
	.venv/bin/nox --sessions $(or ${AIRFLOW_VERSIONS:%='tests(%)'},tests) -- $(ARGS)

release: .venv/ready  ## build what is published, and install it where nothing else is
	.venv/bin/nox --sessions release

stores: .venv/ready  ## land in emulators of Google's and Azure's stores; takes npm (ARGS="tests/test_stores.py")
	.venv/bin/nox --sessions stores -- $(ARGS)

readers: .venv/ready  ## read lakes with DuckDB, pandas, polars, pyarrow, and Spark where there is a java
	.venv/bin/nox --sessions readers -- $(ARGS)

recipes: .venv/ready  ## make a DAG of YAML with dag-factory
	.venv/bin/nox --sessions recipes -- $(ARGS)

warehouses: .venv/ready  ## parse the examples of warehouses with their providers, and run Snowflake's on fakesnow
	.venv/bin/nox --sessions warehouses -- $(ARGS)

docs: .venv/ready  ## make a site of the docs in build/site, a warning is an error; takes npm
	.venv/bin/nox --sessions docs

pages: .venv/ready  ## look at the page in Airflow's UI with Chromium (apt-get install chromium); WRITE_DOCS=1 for the docs
	.venv/bin/nox --sessions pages -- $(ARGS)

kills: .venv/ready  ## kill landings at each of their steps (make slow: at some of them)
	EVERY_POINT=1 .venv/bin/python -m pytest tests/test_landing_kills.py tests/test_sql_kills.py \
		tests/test_iceberg_kills.py tests/test_delta_kills.py --numprocesses=auto --dist=load

fuzz: .venv/ready  ## the laws about whatever comes, with many more cases (FUZZ=2500 for each law)
	FUZZ=$(or ${FUZZ},2500) .venv/bin/python -m pytest tests/test_fuzz_*.py tests/test_response_laws.py tests/test_structure.py \
		--numprocesses=auto --dist=load

mutants: .venv/ready  ## break the decisions in one place at a time, and see whether a test notices (ARGS="*.pace.*")
	.venv/bin/nox --sessions mutants -- $(ARGS)

cluster: .venv/ready  ## a cluster to try things on: Celery, PostgreSQL, Redis, a sandbox (DAGS=example_dags)
	.venv/bin/nox --sessions cluster -- up

cluster-down: .venv/ready  ## stop it
	.venv/bin/nox --sessions cluster -- down

chaos: .venv/ready  ## a backfill on a cluster while everything breaks (CHAOS_SEED=1 CHAOS_MINUTES=15 CHAOS_INTERVALS=200)
	.venv/bin/nox --sessions cluster -- chaos

mariadb: .venv/mariadb  ## land in MariaDB, too (apt-get install mariadb-server libmariadb-dev pkg-config gcc)
	@PATH="$$PATH:/usr/sbin" command -v mariadbd >/dev/null || { echo "There is no mariadbd: apt-get install mariadb-server" >&2; exit 1; }
	.venv/bin/python -m pytest tests/test_sql*.py tests/test_docs_sql.py --numprocesses=auto --dist=loadfile -k mariadb

.venv/mariadb: .venv/ready
	$(INSTALL) --no-build-isolation --editable '.[mariadb]'
	touch $@

system: .venv/ready  ## run the slow tests, on a real Airflow, and those of the wheel
	.venv/bin/python -m pytest tests/test_packaging.py --verbose
	.venv/bin/python -m pytest system_tests --ignore=system_tests/test_scale.py $(SYSTEM)
	.venv/bin/python -m pytest system_tests/test_scale.py $(SYSTEM)

check: .venv/ready  ## lint, format, types, import contracts
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

audit: .venv/ready  ## print the licences of what is installed at run time, and its known vulnerabilities; takes api.osv.dev (ARGS=licences)
	.venv/bin/nox --sessions audit -- $(ARGS)

bench: .venv/bench  ## measure what is claimed, side by side: tables, and build/bench.json
	.venv/bin/python -m benchmarks

.venv/bench: .venv/ready
	$(INSTALL) --no-build-isolation --editable '.[bench]'
	touch $@

live: .venv/ready  ## measure a live triggerer and a backfill; takes PostgreSQL (WAITING=2000 MINUTES=5 PENDING=1000 INTERVALS=365)
	.venv/bin/python -m benchmarks live-waiting live-restart live-backfill

clean:  ## remove what the other targets made
	rm -rf .venv .nox .azurite .mermaid .demo build dist mutants .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/ready: setup.cfg pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(INSTALL) setuptools
	$(INSTALL) --no-build-isolation --editable '.[dev]'
	touch $@
