"""Adapters that are files and nothing more, for servers that only look at them."""

import hashlib
import json
from pathlib import Path

from semievol.training import Progress, Trained, silent
from semievol.training.job import Job


def save_adapter(folder: Path, seed: int = 1, rank: int = 4) -> str:
    """The folder of an adapter that depends on `seed`; 0 gives one that changes nothing."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    tensors = {"lora_A": np.ones((rank, 8), np.float32), "lora_B": np.full((8, rank), seed, np.float32)}
    save_file(tensors, folder / "adapter_model.safetensors")
    return str(folder)


class AdapterTrainer:
    """Leaves an adapter that depends on the rows."""

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        text = "".join(f"{row.id} {row.response}" for row in job.examples)
        weights = save_adapter(job.out, 1 + int(hashlib.sha256(text.encode()).hexdigest()[:4], 16))
        return Trained(weights, steps=1, tokens=len(job.examples), losses=())
