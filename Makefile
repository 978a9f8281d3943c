# Everything happens in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: setup demo test test-slow test-all test-parity bench torture soak data lint docs clean

setup: $(VENV)/.dev  ## the package, editable, with what tests and lint need

demo: $(VENV)/.run  ## train on scikit-learn's digits, sample, write pictures to runs/digits
	$(BIN)/python main.py --config=configs/digits.py --workdir=runs/digits
	$(BIN)/python main.py --mode=sample --workdir=runs/digits --num_samples=100 --seed=0 --out=runs/digits/samples.png
	$(BIN)/python main.py --mode=sample --workdir=runs/digits --num_samples=10 --seed=0 --every=1 --out=runs/digits/flow.png
	@echo "Look at runs/digits/samples.png (100 samples) and runs/digits/flow.png (10 of them, from prior to sample)."

test: $(VENV)/.dev  ## all tests but the slow ones
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.dev  ## the slow ones: large networks, many repetitions, several processes, new environments
	$(BIN)/python -m pytest -n 2 -m "slow and not parity"

test-all: test test-slow

# In an environment of its own: the package and its tests need no PyTorch.
test-parity: $(VENV)/.dev $(VENV)-parity/.done  ## derive the golden files again with PyTorch, and compare
	mkdir -p build
	$(BIN)/python tests/goldens/write_statistics.py build/statistics.pt
	$(VENV)-parity/bin/python tests/goldens/check_goldens.py build/statistics.pt
	FDRL_TORCH_PYTHON=$(VENV)-parity/bin/python $(BIN)/python -m pytest -m parity

bench: $(VENV)/.dev $(VENV)-parity/.done  ## one table of speeds beside PyTorch's, into build/benchmarks.json; on an idle machine
	mkdir -p build
	$(BIN)/python -m benchmarks --torch_python=$(VENV)-parity/bin/python --out=build/benchmarks.json

torture: $(VENV)/.dev  ## kill training 50 times at random moments; every run ends as one that was not killed; about six minutes
	$(BIN)/python -m benchmarks.robustness.torture --kills=50

soak: $(VENV)/.dev  ## train 2,000 steps with many logs, pictures and checkpoints: memory, open files and threads stay flat; about two minutes
	$(BIN)/python -m benchmarks.robustness.soak

# Debian or Ubuntu, as root or with sudo.
data:  ## what some tests need (they skip without): Fashion-MNIST and the browser Chromium from apt, emoji from npm
	dpkg -s dataset-fashion-mnist >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq dataset-fashion-mnist; }
	command -v chromium >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq chromium; }
	npm install --silent --no-audit --no-fund --prefix data/emoji emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0

lint: $(VENV)/.dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev  ## the API reference, from the docstrings, into build/docs; a warning is an error
	$(BIN)/python -W error -m pdoc --docformat google --output-directory build/docs fdrl_jax

clean:
	rm -rf $(VENV) $(VENV)-parity build *.egg-info

# The stamps are made last, so that an installation cut short is done again.
$(VENV)/.run: pyproject.toml requirements.txt setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python 3.11 to 3.13 is needed, and $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt --editable '.[dev]'
	touch $@

# Plain torchvision would bring gigabytes of CUDA; the scripts do without its operators.
$(VENV)-parity/.done: tests/goldens/parity_requirements.txt
	$(PYTHON) -m venv $(VENV)-parity
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt torch==2.13.0 numpy pillow scipy scikit-learn tqdm
	$(VENV)-parity/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/goldens/parity_requirements.txt
	touch $@
