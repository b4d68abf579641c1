"""What the estimate rests on: machines, prices, and what is assumed."""

from dataclasses import dataclass

from benchmarks.speed.limit import Shape

LLAMA = Shape(hidden=4096, intermediate=14336, keys=1024, queries=4096, layers=32, vocabulary=128256)
"""Llama-3.1-8B, from its published config."""
RANK = 16
"""`training.lora_r`."""


@dataclass(frozen=True)
class Machines:
    """What one kind of machine has and costs: on demand, Linux, us-east-1."""

    gpu: str
    type: str
    gpus: int
    """GPUs of one machine."""
    memory: float
    """Of one GPU, in GB."""
    peak: float
    """FLOP a second in bfloat16 without sparsity, from NVIDIA's data sheet."""
    link: float
    """Bytes a second between the GPUs of a training. Assumed: 10 Gbit/s of the "up to 20" of a g6e.2xlarge, and 100
    GB/s of the NVLink inside one machine."""
    price: float
    """Dollars an hour."""


L40S = Machines("L40S", "g6e.2xlarge", 1, 48, 362e12, 1.25e9, 2.24208)
A100 = Machines("A100", "p4de.24xlarge", 8, 80, 312e12, 100e9, 27.44705)
H100 = Machines("H100", "p5.48xlarge", 8, 80, 989e12, 100e9, 55.04)
PRICES = (
    "AWS price list for us-east-1 as others noted it down: p4de and p5 of 2026-07-28, g6e of 2026-09-25, m7i undated; "
    "not looked up at AWS"
)
HEAD_PRICE = 0.4032
"""Dollars an hour of the head, an m7i.2xlarge; noted down alike by several others, without a date."""

ANSWERING_SHARE = 0.4
"""Of the peak that vLLM reaches with prompts of a few hundred tokens and answers of two. Assumed. vLLM's own figure for
Llama-2-7B on an A100 (pull request 11267, 5,510 tokens a second, half of them generated) is 0.24; pure prefill does
better."""
ADAPTER_SHARE = 7.60 / 11.45
"""Of the throughput that is left with one adapter: requests a second in vLLM's pull request 11267, on an A100."""
CLIENT_RATE = 300.0
"""Requests a second that one worker can send and one server can take in. Assumed; not measured."""
DISAGREE = 0.5
"""Share of the rows that are asked again in `justify`. Assumed."""
TRAINING_SHARE = 0.3
"""Of the peak that a training pass reaches if it is long enough. Assumed."""
PASS_SECONDS = 0.15
"""Least time of a pass forward and back through 32 layers: launching its kernels. Assumed."""
GRADIENT_BYTES = 4
"""Of one LoRA weight's gradient: PEFT keeps adapters in float32."""
ENGINE_SECONDS = 120.0
"""Start of vLLM with weights on the machine's disk: reading, compiling, capturing graphs. Assumed."""
ENGINE_STARTS = 2
"""For `collaborate` with `justify`, and for `evaluate`."""
TRAINER_SECONDS = 60.0
"""Start of a training: workers, reading the weights. Assumed."""
MACHINE_SECONDS = 900.0
"""From asking for machines until Ray runs on them: boot, image, packages, the model's 16 GB. Assumed."""
ROWS = (100_000, 1_000_000, 10_000_000)
"""Sizes beyond the data's own, with prompts as long as there."""
BIG_BATCH = 512
"""Rows in a step of another recipe than the paper's."""
