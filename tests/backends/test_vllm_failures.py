"""Why a server ended, from outputs of vLLM 0.32 (those of GPUs as its source words them)."""

import pytest

from semievol.backends.vllm.failures import reason

OUTPUTS = {
    "port in use": (
        "    sock.bind(addr)\nOSError: [Errno 98] Address already in use\n",
        "its port was taken by another program in the meantime",
    ),
    "adapter too large": (
        "(EngineCore pid=1040) ERROR 11-23 06:38:45 [core.py:1750] RuntimeError: Worker failed with error 'LoRA rank 4 "
        "is greater than max_lora_rank 1.', please check the stack trace above for the root cause\n"
        "    raise ValueError(load_result.error.message)\n",
        "the adapter has LoRA rank 4 and backend.vllm.engine_options.max_lora_rank is 1",
    ),
    "output head trained": (
        "ValueError: While loading /run/adapter, expected target modules in ['q_proj', 'v_proj'] but received "
        "['lm_head']. Please verify that the loaded LoRA module is correct\n",
        "it cannot apply LoRA to ['lm_head']; leave them out of training.lora_target_modules",
    ),
    "memory for keys and values on a CPU": (
        "RuntimeError: Worker failed with error 'Available memory on node 0 (13.15/15.71 GiB) on kv cache allocation "
        "is less than requested memory for kv (1000.0 GiB). Decrease --kv-cache-memory-bytes, "
        "VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by other processes.', please check the "
        "stack trace above for the root cause\n    raise RuntimeError(\n"
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n",
        "not enough memory: 1000.0 GiB for keys and values, 13.15 are free; lower VLLM_CPU_KVCACHE_SPACE",
    ),
    "a GPU in use": (
        "ValueError: Free memory on device cuda:0 (11.2/79.3 GiB) on startup is less than desired GPU memory "
        "utilization (0.92, 72.9 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.\n"
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n",
        "not enough memory: 11.2 of 79.3 GiB are free on the device",
    ),
    "no room for the longest prompt": (
        "ValueError: To serve at least one request with the model's max seq len (131072), (16.0 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (5.21 GiB). Based on the available memory, "
        "the estimated maximum model length is 42656. Try increasing `gpu_memory_utilization`\n",
        "a prompt of the model's 131072 tokens does not fit in memory (16.0 of 5.21 GiB); set model.max_length",
    ),
    "out of memory while loading": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB.\n",
        "not enough memory; raise backend.vllm.gpu_memory_utilization",
    ),
    "not a model": (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, Invalid repository ID or local directory specified: '/tmp/empty'.\n"
        "Please verify the following requirements:\n"
        " [type=value_error, input_value=ArgsKwargs((), {'model': '/tmp/empty'}), input_type=ArgsKwargs]\n",
        "model not found; check model.name",
    ),
    "no network": (
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the "
        "cached files.\n",
        "the model is not in the cache and the hub cannot be reached",
    ),
    "unknown option": (
        "api_server.py: error: unrecognized arguments: --no-such-option\n",
        "this vLLM does not know --no-such-option; see backend.vllm.engine_options",
    ),
    "heads that do not divide": (
        "  Value error, Total number of attention heads (9) must be divisible by tensor parallel size (2). [type=v]\n",
        "the model's 9 attention heads do not divide into 2",
    ),
    "not installed": (
        "/usr/bin/python: Error while finding module specification for 'vllm.entrypoints.openai.api_server' "
        "(ModuleNotFoundError: No module named 'vllm')\n",
        "vLLM is not installed where backend.vllm.command points; pip install vllm there",
    ),
    "something else": (
        "(EngineCore pid=7) ERROR 11-23 06:38:45 [core.py:1750] ValueError: Loading lora warm failed: No adapter "
        "found\nRuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
        "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.\n",
        "ValueError: Loading lora warm failed: No adapter found",
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_reason_is_one_line_that_says_what_to_do(name):
    output, expected = OUTPUTS[name]
    found = reason(f"INFO 11-23 06:27:19 [model.py:733] Resolved architecture\n{output}", 1)
    assert found.startswith(expected)
    assert "\n" not in found


def test_a_server_that_says_nothing_is_explained_by_how_it_ended():
    assert reason("", 3) == "exit status 3"
    assert reason("", -15) == "killed by SIGTERM"
    assert reason("", 137) == "killed by SIGKILL (out of memory, perhaps)"
