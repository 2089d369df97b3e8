# make setup   a virtual environment with everything, in .venv
# make demo    the whole loop on this machine
# make test    the tests; with KAFKA_HOME set they run on Apache Kafka
# make test-recovery   only the replay under kill -9; FEWSTEP_TEST_EVENTS and FEWSTEP_TEST_KILLS set its size
# make chaos   ten minutes of load and faults on Apache Kafka; tests/chaos/__main__.py has its settings
# make benchmark-quality   every line of the learner's acceptance, with the tables; python -m meta.benchmark --only NAME for one
# make check   everything that CI runs
# make clean   what the targets above have made

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-recovery chaos benchmark-quality check clean

setup: $(STAMP)

# Complete only with the stamp, so that an interrupted installation is repeated.
$(STAMP): pyproject.toml constraints.txt
	@python=; for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "no Python 3.11 or newer on the PATH: install one" >&2; exit 1; fi; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)
	@$(BIN)/fewstep demo

test: $(STAMP)
	@$(BIN)/pytest

test-recovery: $(STAMP)
	@$(BIN)/pytest tests/recovery

chaos: $(STAMP)
	@PYTHONPATH=tests $(BIN)/python -m chaos

benchmark-quality: $(STAMP)
	@$(BIN)/python -m meta.benchmark

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schemas.generate --check
	$(BIN)/pytest

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find schemas stream meta tests -name __pycache__ -type d -prune -exec rm -rf {} +
