PYTHON ?= python3

# No script of .venv/bin is run by its name: its shebang breaks where the path has a space.
PY := .venv/bin/python
INSTALLED := .venv/.installed
BENCH_PY := .venv/bench/bin/python
BENCH_INSTALLED := .venv/bench/.installed
FASTIFY := bench/peers/fastify_pg
FASTIFY_INSTALLED := $(FASTIFY)/node_modules/.installed
# make bench WITHOUT=fastify leaves it out, where there is no node
WITHOUT :=
PEERS_INSTALLED := $(BENCH_INSTALLED) $(if $(filter fastify,$(WITHOUT)),,$(FASTIFY_INSTALLED))

MIGRATIONS := migrations/*.sql docs/recipes/*.sql
# Rollbacks drop things. --exclude replaces the exclusions of .squawk.toml, so they are repeated
DROPS := ban-drop-table,ban-drop-column,ban-drop-constraint,ban-drop-function
DROPS := $(DROPS),require-lock-timeout,require-statement-timeout

# What test-all measures; COVERAGE= for none
COVERAGE := --cov --cov-report=term-missing:skip-covered
# make test ARGS='-k pages'
ARGS :=
PYTEST := $(PY) -m pytest
# The external ones too, which pytest would leave out if they were named beside their parent
EVERY_FOLDER := --override-ini norecursedirs='.*'
# Two processes, each with a PostgreSQL and a service of its own
PARALLEL := --numprocesses 2 --dist worksteal
# With RETRY=1, tests that fail (pytest's exit code 1) run once more, alone and one at a time, because
# a busy machine can make a test of time limits fail. A test that needs this needs work.
RETRY :=
AGAIN = $(if $(RETRY),|| { test $$? = 1 && $(MAKE) --no-print-directory test-failed TESTS='$(1)'; })

.DEFAULT_GOAL := help
.PHONY: help run test check test-all test-long test-peers test-external test-failed test-browser test-clients fuzz faults hostile \
	test-ha test-citus test-rolling bench bench-long bench-hot-path bench-isolation bench-pages \
	bench-logging bench-deletion bench-feed bench-migrations bench-releases \
	lint lint-types lint-migrations explain database-docs lock audit migrate clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

# exec, so that no shell stands between make and the launcher when a signal comes
run: $(INSTALLED) ## start the service with a PostgreSQL of its own, or with DATABASE_URL
	@exec $(PY) tools/run.py

test: $(INSTALLED) ## run the tests that a change needs: all but the slow ones
	@$(PYTEST) $(PARALLEL) -m 'not slow and not long' $(ARGS)

check: ## run the tests that a change needs, and the linters
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory lint

test-all: $(INSTALLED) ## run all tests with coverage, and the linters
	@$(PYTEST) $(PARALLEL) -m 'not long' $(COVERAGE) $(ARGS) \
		$(call AGAIN,tests)
	@$(MAKE) --no-print-directory lint

test-long: $(INSTALLED) ## repeat races and random histories very often, and faults that need other programs
	@$(PYTEST) $(EVERY_FOLDER) -m long tests $(ARGS)

test-external: $(INSTALLED) ## run the tests that need other programs: those that .ci/run names
	@$(PYTEST) tests/external -m 'not ha and not peers' $(ARGS) \
		$(call AGAIN,tests/external)

# The long form, FAULTS=long, renews the table in docs/scaling.md.
test-ha: $(INSTALLED) ## kill the primary, a standby and etcd of three nodes with Patroni
	@$(PYTEST) tests/external/test_patroni.py $(ARGS) \
		$(call AGAIN,tests/external/test_patroni.py)

# 20,000 tasks with make test-long
test-rolling: $(INSTALLED) ## deploy over the release before, beside 1,000,000 tasks, with nginx and git
	@FAULTS=long $(PYTEST) tests/faults/external/test_rolling_deploy.py $(ARGS)

# A superuser's URI of a database that has the extension and its nodes. It runs a quarter of an hour.
test-citus: $(INSTALLED) ## run the functional tests on the Citus coordinator that CITUS_DATABASE_URL names
	@test -n "$$CITUS_DATABASE_URL" || { echo "taskapi: set CITUS_DATABASE_URL to a superuser's URI of a Citus coordinator with its nodes" >&2; exit 1; }
	@$(PYTEST) tests/tasks tests/accounts tests/database -m 'not long and not one_server' $(ARGS)

test-peers: $(INSTALLED) $(PEERS_INSTALLED) ## start each stack that the bench compares with, and check its answers
	@$(PYTEST) tests/external/test_bench_programs.py $(ARGS)

test-failed: $(INSTALLED) ## run only the tests that failed last, one at a time
	@$(PYTEST) -v --last-failed --last-failed-no-failures none -p no:randomly $(or $(TESTS),tests)

test-browser: $(INSTALLED) ## click through /docs and examples/web in the chromium in the PATH
	@$(PYTEST) tests/external/test_docs_page.py tests/external/test_web_example.py

test-clients: $(INSTALLED) ## generate a TypeScript client with node and npm, and try it
	@$(PYTEST) tests/external/test_typescript.py

fuzz: $(INSTALLED) ## send 10,000 requests that the OpenAPI document allows or forbids
	@PYTHONPATH=tools exec $(PY) -m tests.fuzz

faults: $(INSTALLED) ## cause faults for half an hour, and renew the table in docs/faults.md
	@FAULTS=long $(PYTEST) $(EVERY_FOLDER) tests/faults

hostile: $(INSTALLED) ## measure what ten normal users notice of one that misbehaves
	@FAULTS=long $(PYTEST) -p no:randomly tests/faults/test_hostile.py \
		tests/faults/external/test_hostile_behind_nginx.py $(ARGS)

# ARGS selects a part, which is saved only with --save: bench/compare.py --help
bench: $(INSTALLED) $(PEERS_INSTALLED) ## compare with other stacks for 40 minutes; renew docs/performance.md
	@$(PY) bench/compare.py --without '$(WITHOUT)' $(or $(ARGS),--save)
	@$(BENCH_PY) bench/plot.py

bench-long: $(INSTALLED) $(PEERS_INSTALLED) ## a million requests, 10 million tasks, 10 idle minutes: three hours
	@$(PY) bench/compare.py --without '$(WITHOUT)' --parts million,growth,idle --save
	@$(BENCH_PY) bench/plot.py

bench-isolation: $(INSTALLED) ## measure what row-level security costs
	@$(PY) bench/isolation.py

bench-pages: $(INSTALLED) ## measure what page 1 and page 1,000 of a list cost, and that it is the same
	@$(PY) bench/pages.py $(ARGS)

bench-feed: $(INSTALLED) ## measure what the change feed and batches cost; 40 minutes and 15 GB of disk
	@$(PY) bench/feed.py $(ARGS)

bench-migrations: $(INSTALLED) ## measure each migration since the release before, on 10 million tasks
	@$(PY) bench/migrations.py $(ARGS)

bench-releases: $(INSTALLED) ## compare reads, lists and creates with the release before
	@$(PY) bench/releases.py $(ARGS)

bench-hot-path: $(INSTALLED) ## measure where the processor time of a read goes
	@$(PY) bench/hot_path.py

bench-deletion: $(INSTALLED) ## measure what others notice of an account with a million tasks that is closed
	@$(PY) bench/deletion.py $(ARGS)

bench-logging: $(INSTALLED) ## measure what the request log and the metrics cost
	@$(PY) bench/request_log.py

lint: lint-types lint-migrations ## check style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m sqlfluff lint --nocolor --disable-progress-bar sql migrations docs/recipes bench/sql
	@.venv/bin/hadolint deploy/Dockerfile

lint-types: $(INSTALLED) ## check types
	@$(PY) -m mypy --strict taskapi wsgi.py gunicorn.conf.py tools tests bench examples

lint-migrations: $(INSTALLED) ## check what the migrations would block
	@.venv/bin/squawk --exclude-path '*.rollback.sql' $(MIGRATIONS)
	@.venv/bin/squawk --exclude $(DROPS) migrations/*.rollback.sql docs/recipes/*.rollback.sql

explain: $(INSTALLED) ## print the plan of each statement on a filled database, with what it read
	@PYTHONPATH=tools exec $(PY) -m tests.support.plans

database-docs: $(INSTALLED) ## renew the diagram and the sizes in docs/database.md
	@PYTHONPATH=tools exec $(PY) -m tests.support.database_docs

# pip wants a hash for `coverage[toml]` too, so extras stay in the pins
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --custom-compile-command 'make lock'

lock: $(INSTALLED) ## compile requirements*.in to requirements*.txt, with hashes for every platform
	@$(PY) -m $(COMPILE) --output-file requirements.txt requirements.in
	@$(PY) -m $(COMPILE) --output-file requirements-dev.txt requirements-dev.in
	@$(PY) -m $(COMPILE) --output-file bench/requirements.txt bench/requirements.in

# Apart from lint, because it needs an advisory service on the Internet.
audit: $(INSTALLED) ## look up the pinned packages in PyPI's advisories
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@.venv/audit/bin/python -m pip_audit --strict --disable-pip --requirement requirements-dev.txt

migrate: $(INSTALLED) ## bring the database of DATABASE_URL up to date
	@test -n "$$DATABASE_URL" || { echo 'taskapi: set DATABASE_URL to the database to migrate' >&2; exit 1; }
	@exec $(PY) -m taskapi migrate apply

clean: ## remove what make created, but not the data of make run in .local
	rm -rf .venv $(FASTIFY)/node_modules .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache
	find . -name .local -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Recreated when a pin changes, so that it has nothing that is no longer required
$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'taskapi: needs Python 3.11 or newer as $(PYTHON): name another, as in make PYTHON=python3.13' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "taskapi: $(PYTHON) can't create a virtual environment: apt install python3-venv" >&2; exit 1; }
	@echo 'Installing into .venv, once'
	@$(PYTHON) -m venv --clear .venv || \
		{ rm -rf .venv; echo 'taskapi: .venv could not be created: the lines above say why' >&2; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.txt || \
		{ rm -rf .venv; echo 'taskapi: pip could not install requirements-dev.txt: the lines above say why' >&2; exit 1; }
	@touch $@

# The other stacks of make bench and its plots, apart from the project's own packages
$(BENCH_INSTALLED): $(INSTALLED) bench/requirements.txt
	@echo 'Installing into .venv/bench, once'
	@$(PYTHON) -m venv --clear .venv/bench
	@$(BENCH_PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement bench/requirements.txt || \
		{ rm -rf .venv/bench; echo 'taskapi: pip could not install bench/requirements.txt: the lines above say why' >&2; exit 1; }
	@touch $@

# Its packages lie beside it, where node looks for them
$(FASTIFY_INSTALLED): $(FASTIFY)/package.json $(FASTIFY)/package-lock.json
	@command -v npm >/dev/null || \
		{ echo 'taskapi: the bench starts Fastify, which needs node 20 and npm: apt install nodejs npm, or leave it out: make bench WITHOUT=fastify' >&2; exit 1; }
	@echo 'Installing into $(FASTIFY)/node_modules, once'
	@npm --prefix $(FASTIFY) ci --engine-strict --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null || \
		{ rm -rf $(FASTIFY)/node_modules; echo 'taskapi: npm could not install $(FASTIFY)/package-lock.json: the lines above say why, and make bench WITHOUT=fastify leaves it out' >&2; exit 1; }
	@touch $@
