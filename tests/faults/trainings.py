"""A training of a tiny model that is killed, or whose disk is full, before each of its operations on files.

It writes a checkpoint after every step. `same` is one after which the same call gave the same weights, and left nothing
else. It runs in a process of its own, which has no threads of torch yet, and forks one for each training.

    python -m faults.trainings FOLDER STEP FIRST       prints the tally as JSON
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from faults.operations import OPERATIONS, killed, refused
from faults.tally import Tally

WRONG = ("raw", "other weights", "left over")


def try_trainings(folder: Path, step: int = 1, first: int = 0) -> Tally:
    """What came of a kill and of a full disk before every `step`-th operation."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "faults.trainings", str(folder), str(step), str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    content = json.loads(done.stdout.splitlines()[-1])
    tally = Tally()
    tally.counts.update(content["counts"])
    tally.examples.update(content["examples"])
    return tally


class Trainings:
    """One training, struck at each of its operations."""

    def __init__(self, folder: Path) -> None:
        from semievol.config import ModelConfig, TrainingConfig
        from semievol.records import Message, TrainingExample
        from semievol.training import sft
        from tiny import save_tiny_model

        sft.EVERY = 0.0  # a checkpoint after every step
        self.out, self.tally = folder / "out", Tally()
        self.model = ModelConfig(name=save_tiny_model(folder / "model"), dtype="float32", device="cpu")
        self.recipe = TrainingConfig(
            num_train_epochs=3, learning_rate=1e-2, per_device_train_batch_size=2, gradient_accumulation_steps=1
        )
        words = {"rain and snow": "weather", "goal and match": "sport", "bank and loan": "money", "wind": "weather"}
        self.rows = [
            TrainingExample(str(at), (Message(role="user", content=question),), answer, 1.0)
            for at, (question, answer) in enumerate(words.items())
        ]
        self.operations = self._in_a_fork(self._counted)
        self.expected = self._weights()

    def _train(self) -> None:
        from semievol.training.job import Job
        from semievol.training.local import LocalTrainer

        LocalTrainer().train(Job(self.model, self.rows, self.recipe, self.out, 3))

    def _counted(self) -> int:
        with OPERATIONS.before(self.out, -1, None) as operations:
            self._train()
            return operations.count

    def _in_a_fork(self, work) -> int:
        """What `work` comes to, a number, in a process of its own; -1 if that is killed."""
        answer, write = os.pipe()
        process = os.fork()
        if process == 0:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            try:
                os.write(write, str(work() or 0).encode())
            except BaseException as error:
                os.write(write, f"raised {type(error).__name__}: {error}".encode())
            finally:
                os._exit(0)
        os.close(write)
        said = b"".join(iter(lambda: os.read(answer, 4096), b"")).decode()
        os.close(answer)
        os.waitpid(process, 0)
        if said.startswith("raised"):
            raise ChildError(said)
        return int(said or -1)

    def _weights(self) -> dict[str, str]:
        files = [path for path in self.out.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def strike(self, n: int, with_kill: bool) -> None:
        import shutil

        what = f"operation {n} {'killed' if with_kill else 'refused'}"
        shutil.rmtree(self.out)

        def struck() -> int:
            with OPERATIONS.before(self.out, n, killed if with_kill else refused):
                self._train()
            return 0

        try:
            self._in_a_fork(struck)
        except ChildError as error:
            if "No space left" not in str(error) and "SemiEvol" not in str(error):
                self.tally.add("raw", f"{what}: {error}")
                return
        try:
            self._in_a_fork(self._counted)
        except ChildError as error:
            self.tally.add("raw", f"{what}, then: {error}")
            return
        weights = self._weights()
        if any(weights.get(name) != digest for name, digest in self.expected.items()):
            self.tally.add("other weights", what)
        elif len(weights) > len(self.expected):
            self.tally.add("left over", f"{what}: {sorted(set(weights) - set(self.expected))[:3]}")
        else:
            self.tally.add("same")


class ChildError(Exception):
    """What a process of its own has raised."""


def main() -> None:
    folder, step, first = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    import torch  # forked with the process, and used by none before
    import trl  # noqa: F401

    torch.set_num_threads(1)
    trainings = Trainings(folder)
    for n in range(first, trainings.operations, step):
        trainings.strike(n, with_kill=True)
        trainings.strike(n, with_kill=False)
    print(json.dumps({"counts": trainings.tally.counts, "examples": trainings.tally.examples}))


if __name__ == "__main__":
    main()
