# Two commands do everything from a bare clone: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test claims clean

demo: $(STAMP)
	$(BIN)/entrostat train --steps 70

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

# docs/claims.md from the results beside it; `entrostat reproduce --all --out docs/results/reproduce` makes those
claims: $(STAMP)
	$(BIN)/entrostat reproduce --render docs/results/reproduce > docs/claims.md

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "entrostat needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
