"""How many epochs SFT needs in the demo, measured on rows of the training file alone.

python benchmarks/epochs.py            measures what is missing in benchmarks/results/demo/epochs.jsonl, then the table
python benchmarks/epochs.py --table    the table only

The test rows here are drawn from the training file, with a seed that the results do not use.
"""

import argparse
import json
import shutil
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import semievol
from benchmarks.pages import ROOT
from semievol.backends import open_backend
from semievol.config import Config
from semievol.data import Dataset, load
from semievol.metrics import accuracy
from semievol.records import Example, Request, Sampling
from semievol.stages.warmup import TrainingRows
from semievol.tasks import Task
from semievol.training import open_trainer
from semievol.training.job import Job

KEPT = ROOT / "benchmarks" / "results" / "demo" / "epochs.jsonl"
SEEDS = (10,)
EPOCHS = (3, 6, 9, 12)


def main() -> None:
    """Measures what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only print the table from what is kept")
    if not parser.parse_args().table:
        known = {(one["seed"], one["epochs"]) for one in kept()}
        for seed in SEEDS:
            config, dataset = development(seed)
            for epochs in EPOCHS:
                if (seed, epochs) not in known:
                    line = json.dumps({"seed": seed, "epochs": epochs, **measured(config, dataset, epochs)})
                    with KEPT.open("a", encoding="utf-8") as handle:
                        handle.write(line + "\n")
    print(table())


def development(seed: int) -> tuple[Config, Dataset]:
    """The demo's config with test rows from the training file, and its rows."""
    path = ROOT / "configs" / "demo.yaml"
    training_file = semievol.load(path).data.labeled
    config = semievol.load(path, [f"seed={seed}", f"data.test={training_file}"])
    return config, load(config)


def measured(config: Config, dataset: Dataset, epochs: int) -> dict[str, Any]:
    """Accuracy on the development rows after SFT, and the mean loss of the last epoch, in nats a token."""
    recipe = config.recipe("warmup").model_copy(update={"num_train_epochs": epochs})
    folder = ROOT / "runs" / f"epochs-{config.seed}-{epochs}"
    shutil.rmtree(folder, ignore_errors=True)
    rows = TrainingRows(dataset.task, dataset.labeled)
    trained = open_trainer(recipe).train(Job(config.model, rows, recipe, folder, config.seed))
    last = trained.losses[-trained.steps // epochs :]
    right = verdicts(config, dataset.task, trained.weights, dataset.test)
    return {**accuracy(right), "last_epoch_loss": round(statistics.mean(last), 4)}


def verdicts(config: Config, task: Task, weights: str, rows: Sequence[Example]) -> list[bool]:
    """Whether each row is answered right by the adapter in `weights`."""
    backend = open_backend(config, {"sft": weights})
    sampling = Sampling(max_tokens=config.longest)
    said = {
        one.id: one.text for one in backend.generate([Request(r.id, task.messages(r), "sft", sampling) for r in rows])
    }
    answers = ((task.parse(said[row.id], row), row.answer) for row in rows)
    return [given is not None and true is not None and task.equal(given, true) for given, true in answers]


def kept() -> Iterator[dict[str, Any]]:
    """The measurements that are kept."""
    if KEPT.exists():
        yield from (json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines())


def table() -> str:
    """Accuracy by seed and number of epochs, in Markdown."""
    lines = ["| seed | epochs | right, % (95 % interval) | mean loss of the last epoch |", "|---|---|---|---|"]
    for one in sorted(kept(), key=lambda one: (one["seed"], one["epochs"])):
        share = f"{100 * one['accuracy']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})"
        lines.append(f"| {one['seed']} | {one['epochs']} | {share} | {one['last_epoch_loss']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
