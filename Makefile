PYTHON ?= python3

# No script of .venv/bin is run by its name: its shebang breaks where the path has a space.
PY := .venv/bin/python
INSTALLED := .venv/.installed
BENCH_PY := .venv/bench/bin/python
BENCH_INSTALLED := .venv/bench/.installed

MIGRATIONS := migrations/*.sql docs/recipes/*.sql
# What a way back is for; and the exclusions of .squawk.toml, which --exclude replaces
DROPS := ban-drop-table,ban-drop-column,ban-drop-constraint,ban-drop-function
DROPS := $(DROPS),require-lock-timeout,require-statement-timeout

.DEFAULT_GOAL := help
.PHONY: help run test audit test-external test-browser test-clients fuzz faults bench bench-long bench-hot-path bench-isolation bench-pages bench-logging lint explain database-docs migrate clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

# exec, so that no shell stands between make and the launcher when a signal comes
run: $(INSTALLED) ## start the service with a PostgreSQL of its own, or with DATABASE_URL
	@exec $(PY) tools/run.py

test: $(INSTALLED) ## run all tests, then lint
	@$(PY) -m pytest
	@$(MAKE) --no-print-directory lint

test-external: $(INSTALLED) ## run the tests that need other programs: those that .ci/run names
	@$(PY) -m pytest --no-cov tests/external tests/faults/external

test-browser: $(INSTALLED) ## click through /docs in the chromium in the PATH
	@$(PY) -m pytest --no-cov tests/external/test_docs_page.py

test-clients: $(INSTALLED) ## generate a TypeScript client with node and npm, and try it
	@$(PY) -m pytest --no-cov tests/external/test_typescript.py

fuzz: $(INSTALLED) ## send the service 10,000 requests that its document allows and forbids
	@PYTHONPATH=tools exec $(PY) -m tests.fuzz

faults: $(INSTALLED) ## break things for half an hour, and renew the table in docs/faults.md
	@FAULTS=long $(PY) -m pytest --no-cov tests/faults tests/faults/external

# ARGS chooses less, which isn't saved unless it has --save: bench/compare.py --help
bench: $(INSTALLED) $(BENCH_INSTALLED) ## compare with other stacks for half an hour; renew docs/performance.md
	@$(PY) bench/compare.py $(or $(ARGS),--save)
	@$(BENCH_PY) bench/plot.py

bench-long: $(INSTALLED) $(BENCH_INSTALLED) ## a million requests, 10 million tasks, 10 idle minutes: two hours
	@$(PY) bench/compare.py --parts million,growth,idle --save
	@$(BENCH_PY) bench/plot.py

bench-isolation: $(INSTALLED) ## measure what keeping users apart costs
	@$(PY) bench/isolation.py

bench-pages: $(INSTALLED) ## measure what page 1 and page 1,000 of a list cost
	@$(PY) bench/pages.py

bench-hot-path: $(INSTALLED) ## measure where the processor time of a read goes
	@$(PY) bench/hot_path.py

bench-logging: $(INSTALLED) ## measure what a line in the log and figures for Prometheus cost
	@$(PY) bench/request_log.py

lint: $(INSTALLED) ## check style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy --strict taskapi wsgi.py gunicorn.conf.py tools tests bench examples
	@$(PY) -m sqlfluff lint --nocolor --disable-progress-bar sql migrations docs/recipes bench/sql
	@.venv/bin/squawk --exclude-path '*.rollback.sql' $(MIGRATIONS)
	@.venv/bin/squawk --exclude $(DROPS) migrations/*.rollback.sql docs/recipes/*.rollback.sql
	@.venv/bin/hadolint deploy/Dockerfile

explain: $(INSTALLED) ## print the plan of each statement on a filled database, with what it read
	@PYTHONPATH=tools exec $(PY) -m tests.support.plans

database-docs: $(INSTALLED) ## renew what docs/database.md has from a database: diagram and sizes
	@PYTHONPATH=tools exec $(PY) -m tests.support.database_docs

# On its own, for it asks an advisory service and would fail without the Internet.
audit: $(INSTALLED) ## look the pinned packages up in PyPI's advisories
	@$(PYTHON) -m venv .venv/audit
	@.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@.venv/audit/bin/python -m pip_audit --strict --no-deps --disable-pip --requirement requirements-dev.txt

migrate: $(INSTALLED) ## bring the database of DATABASE_URL up to date
	@test -n "$$DATABASE_URL" || { echo 'taskapi: set DATABASE_URL to the database to migrate' >&2; exit 1; }
	@exec $(PY) -m taskapi migrate apply

clean: ## remove what make made; the data of make run, in .local, stays
	rm -rf .venv .coverage .coverage.* htmlcov .mypy_cache .pytest_cache .ruff_cache
	find . -name .local -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when a pin changes, so that nothing stays in it that is no longer asked for
$(INSTALLED): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'taskapi: needs Python 3.11 or newer as $(PYTHON): name another, as in make PYTHON=python3.13' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "taskapi: $(PYTHON) can't make a virtual environment: apt install python3-venv" >&2; exit 1; }
	@echo 'Installing into .venv, once'
	@$(PYTHON) -m venv --clear .venv || \
		{ rm -rf .venv; echo 'taskapi: .venv could not be made: mend what is said above' >&2; exit 1; }
	@$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt || \
		{ rm -rf .venv; echo 'taskapi: pip could not install requirements-dev.txt: mend what is said above' >&2; exit 1; }
	@touch $@

# The other stacks of make bench, and its plots, apart from the project's own packages
$(BENCH_INSTALLED): $(INSTALLED) bench/requirements.txt
	@echo 'Installing into .venv/bench, once'
	@$(PYTHON) -m venv --clear .venv/bench
	@$(BENCH_PY) -m pip install --quiet --disable-pip-version-check --requirement bench/requirements.txt || \
		{ rm -rf .venv/bench; echo 'taskapi: pip could not install bench/requirements.txt: mend what is said above' >&2; exit 1; }
	@touch $@
