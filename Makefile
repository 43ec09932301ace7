# Two commands do everything from a bare clone: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_OPTIONS := --quiet --disable-pip-version-check
VERL := .venv-verl
DOCS := .venv-docs
RELEASE := .venv-release
DOCTOR := .venv-doctor
SKYRL := .venv-skyrl
# python3.12 as it is, or the newest that pyenv has
PYTHON312 ?= $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null || \
	PYENV_VERSION=$$(pyenv versions --bare 2>/dev/null | grep '^3\.12' | tail -1) python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null)
# the release that test-trl-other tries
TRL ?= 1.15.0
OTHER_TRL := .trl-other/$(TRL)

.PHONY: environments doctor demo test test-slow test-verl test-verl-slow test-skyrl test-trl-other claims docs pictures cast release repository bench-gpu clean

# make doctor RUN=path/to/run.sh: a small environment of its own, without torch
doctor: $(DOCTOR)/.installed
	@test -n "$(RUN)" || { echo "make doctor RUN=path/to/your/run.sh (or a Python script, a notebook, a configuration)" >&2; exit 2; }
	@$(DOCTOR)/bin/python -m entrostat doctor $(RUN) || test $$? -eq 1

demo: $(STAMP)
	$(BIN)/entrostat compare --engine fast --task chain --learning-rate 2e-4 --prompts 16 --steps 500 --seeds 2 \
		--temperatures 0.4 --map-every 0 grpo "clip-lower --low 0.05" thermostat

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m "not slow"

# what `test` leaves out for its length: whole benches, comparisons and runs, side by side and killed
test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal -m slow

# verl beside the plug-in, on this machine's CPU: an environment of its own, since verl and TRL 1.16 cannot share one
PYTEST_VERL = OMP_NUM_THREADS=1 $(VERL)/bin/pytest -q -n 2 --dist loadfile -c tests/with_verl/pytest.ini
test-verl: $(VERL)/.installed
	$(VERL)/bin/pyright -p tests/with_verl --pythonpath $(VERL)/bin/python
	$(PYTEST_VERL) -m "not slow" tests/with_verl tests/doctor/test_verl_faults.py tests/doctor/test_verl_async.py \
		tests/doctor/test_verl_bypass.py

# what `test-verl` leaves out for its length: whole runs of verl's trainers
test-verl-slow: $(VERL)/.installed
	$(PYTEST_VERL) -m slow tests/with_verl tests/doctor/test_verl_bypass.py

# SkyRL's own loss and registry under our bounds, on a CPU; its wheel wants Python 3.12
test-skyrl:
ifeq ($(PYTHON312),)
	@echo "test-skyrl skipped: there is no python3.12; PYTHON312=/path/to/it runs it" >&2
else
	$(MAKE) $(SKYRL)/.installed
	OMP_NUM_THREADS=1 $(SKYRL)/bin/pytest -q -c tests/with_skyrl/pytest.ini tests/with_skyrl
endif

# another release of TRL, laid over the environment of `test`: a name that it lacks is said in one sentence (and no test
# runs), and what runs is stock TRL. Stock 1.15.0 trains on a CPU only under Triton's interpreter, which takes a minute
# for each test of twenty steps: those are left out.
test-trl-other: $(STAMP) $(OTHER_TRL)/.installed
	ENTROSTAT_TRY_TRL=$(TRL) TRITON_INTERPRET=1 PYTHONPATH=$(OTHER_TRL) OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal \
		-k "not twenty_steps" tests/engines/test_trl_surface.py tests/engines/test_trl_parity.py

# docs/claims.md from the results beside it; `entrostat reproduce --all --out docs/results/reproduce` makes those
claims: $(STAMP)
	$(BIN)/entrostat reproduce --render docs/results/reproduce > docs/claims.md

# the documentation as a site, in build/site; a broken link or anchor fails it
docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet

# docs/glossary/*.svg
pictures: $(DOCS)/.installed
	$(DOCS)/bin/python dev/pictures.py

# the recording in README.md: docs/doctor.cast, and docs/doctor.svg from it
cast: $(DOCS)/.installed $(DOCTOR)/.installed
	$(DOCS)/bin/asciinema rec --quiet --overwrite --cols 100 --rows 28 -c dev/cast.sh docs/doctor.cast
	$(DOCS)/bin/termtosvg render docs/doctor.cast docs/doctor.svg -t window_frame -D 3000

# wheel and sdist, checked; then the wheel alone in a bare environment, where each command says which extra it lacks
release: $(RELEASE)/.installed
	rm -rf dist build/bare
	$(RELEASE)/bin/python -m build --outdir dist .
	$(RELEASE)/bin/twine check --strict dist/*
	$(PYTHON) -m venv build/bare
	build/bare/bin/pip install $(PIP_OPTIONS) -c constraints.txt dist/*.whl
	$(PYTHON) dev/check_bare.py build/bare/bin/entrostat

# once: make repository URL=https://code.host/owner/entrostat
repository:
	sed -i 's#https://github.com/OWNER/entrostat#$(URL)#g' pyproject.toml README.md

# needs a GPU, and hours of it; goes on where it stopped
bench-gpu: $(STAMP)
	mkdir -p runs
	$(BIN)/python bench/gpu.py --out runs/bench-gpu > runs/bench-gpu.json
	cp runs/bench-gpu.json docs/results/gpu.json

# all that the tests, the documentation and the release need; make -j2 environments makes two at a time
environments: $(VERL)/.installed $(if $(PYTHON312),$(SKYRL)/.installed) $(OTHER_TRL)/.installed $(DOCS)/.installed $(RELEASE)/.installed

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "entrostat needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_OPTIONS) -c constraints.txt -e '.[dev]'
	touch $@

$(VERL)/.installed: pyproject.toml constraints-verl.txt
	$(PYTHON) -m venv $(VERL)
	$(VERL)/bin/pip install $(PIP_OPTIONS) -c constraints-verl.txt -e '.[verl,math]' pyright pytest pytest-xdist
	@# apart: where verl finds it, each process imports it, which takes seconds
	$(VERL)/bin/pip install $(PIP_OPTIONS) --no-deps --upgrade \
		--target $(VERL)/megatron-core megatron-core==0.16.1
	touch $@

$(SKYRL)/.installed: constraints-skyrl.txt
	$(PYTHON312) -m venv $(SKYRL)
	$(SKYRL)/bin/pip install $(PIP_OPTIONS) --no-deps -r constraints-skyrl.txt
	$(SKYRL)/bin/pip install $(PIP_OPTIONS) --no-deps -e .
	touch $@

$(DOCS)/.installed: constraints-docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install $(PIP_OPTIONS) -r constraints-docs.txt
	touch $@

# what the doctor imports, at the versions of constraints.txt; the package itself without its requirements
$(DOCTOR)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "entrostat needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 2; }
	$(PYTHON) -m venv $(DOCTOR)
	$(DOCTOR)/bin/pip install $(PIP_OPTIONS) -c constraints.txt tyro rich pyyaml tree-sitter tree-sitter-bash
	$(DOCTOR)/bin/pip install $(PIP_OPTIONS) --no-deps -e .
	touch $@

$(RELEASE)/.installed:
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install $(PIP_OPTIONS) build==1.6.1 twine==7.0.0
	touch $@

$(OTHER_TRL)/.installed: $(STAMP)
	rm -rf $(OTHER_TRL)
	$(BIN)/pip install $(PIP_OPTIONS) --no-deps --target $(OTHER_TRL) trl==$(TRL) triton==3.7.1
	touch $@

clean:
	rm -rf $(VENV) $(VERL) $(SKYRL) $(DOCS) $(RELEASE) $(DOCTOR) .trl-other build dist
