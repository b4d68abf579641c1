"""The whole demo, really run, by ours and as the naive program would do it: `python -m benchmarks.speed.demo`.

The pipeline is the same; the seams take the naive way to answer and TRL's defaults to train. So both retrieve, vote,
select and evaluate alike, both resume if they were stopped, and their accuracies can be compared. Takes an hour and
more on 2 cores.
"""

import argparse
import json
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import ROOT
from semievol.backends.transformers import TransformersBackend
from semievol.config import ModelConfig, TrainingConfig
from semievol.records import Request, Response, TrainingExample
from semievol.training import Trained

from .lanes import Lane
from .naive import respond
from .table import DEMO_KEPT, rewrite
from .training import trl
from .workloads import CACHE

WAYS = {
    "ours": (),
    "naive": (
        "backend.kind=benchmarks.speed.demo:NaiveBackend",
        "training.kind=benchmarks.speed.demo:NaiveTrainer",
        "executor.shard_rows=100000",  # one pass over all rows for each collaborator
    ),
}
QUICK = (
    *("data.labeled_rows=16", "data.unlabeled_rows=3", "data.test_rows=4"),
    *("training.num_train_epochs=1", "evolve.training.num_train_epochs=1"),
)


class NaiveBackend(TransformersBackend):
    """Answers as `naive` does; counts tokens as ours does."""

    def generate(
        self,
        requests: Sequence[Request],
        finished: Container[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Response]:
        """A response for each request that is not `finished`."""
        waiting = [one for one in requests if one.id not in finished]
        for response in respond(self._config.model, self._folders, waiting, None):
            yield response
            if stop():
                return


class NaiveTrainer:
    """TRL with its defaults."""

    def train(
        self,
        model: ModelConfig,
        examples: Sequence[TrainingExample],
        recipe: TrainingConfig,
        out: Path,
        seed: int,
        start_from: str | None = None,
        progress: Callable[[int, int, float | None], None] = lambda step, steps, loss: None,
    ) -> Trained:
        """An adapter trained from the base model; the demo starts from nothing else."""
        losses: list[float] = []

        def tick(loss: float) -> None:
            losses.append(loss)
            progress(len(losses), 0, loss)

        trl(model, examples, recipe, out, seed, tick)
        return Trained(weights=str(out), steps=len(losses), tokens=0, losses=tuple(losses))


def run(way: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Minutes, peak memory and accuracies of one run of the demo, which goes on if it was stopped."""
    import semievol
    from semievol import pipeline
    from semievol.run_folder.folder import RunFolder

    overrides = [*WAYS[way], *(QUICK if quick else ()), f"output={folder}"]
    config = semievol.load(ROOT / "configs" / "demo.yaml", overrides)
    result = pipeline.run(config)
    facts = RunFolder(folder).facts()
    models = (result.metrics or {})["models"]
    return {
        "minutes": sum(session["seconds"] for session in facts["sessions"]) / 60,
        "sessions": facts["sessions"],
        "accuracy": {name: models[name]["accuracy"] for name in ("base", "warm", "evolved")},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both and keeps their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test on a few rows; keeps nothing")
    quick = parser.parse_args(arguments).quick
    found = {}
    for way in WAYS:
        with Lane() as lane:
            found[way] = lane(run, way, CACHE / f"demo-{way}{'-quick' if quick else ''}", quick)
        print(way, {key: value for key, value in found[way].items() if key != "sessions"})
    if not quick:
        DEMO_KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        rewrite()


if __name__ == "__main__":
    main()
