# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check format docs lock clean

demo: $(VENV)/.installed
	$(BIN)/sonobalance demo --out runs/demo

test: $(VENV)/.installed check
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile --durations 12  # one thread per worker: two cores

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed  ## regenerate what the docs take from settings and results
	$(BIN)/python docs/make_settings_reference.py
	$(BIN)/python docs/make_api_reference.py
	$(BIN)/python docs/make_architecture_picture.py
	$(BIN)/python docs/make_results_table.py
	$(BIN)/python docs/make_gates_table.py
	$(BIN)/python docs/make_gan_table.py
	$(BIN)/python docs/make_synthesis_table.py

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

lock: $(VENV)/.installed  ## write the versions that are installed now as the constraints
	$(BIN)/python -m pip freeze --exclude-editable | grep -v '^-e' > constraints.txt

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
