"""A fake engine and trainer that remember, for this process, what reached them."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

from semievol.backends.fake import FakeBackend
from semievol.training import silent
from semievol.training.fake import FakeTrainer

asked: Counter[str] = Counter()
"""Everything that an answer depends on -> how often the engine was asked."""
trained: Counter[str] = Counter()
"""Rows, recipe and start -> how often weights were made of them."""


def forget() -> None:
    asked.clear()
    trained.clear()


class CountingBackend(FakeBackend):
    def generate(self, requests, finished=(), stop=lambda: False):
        for request in requests:
            if request.id not in finished and not stop():
                greedy = request.sampling.temperature == 0
                seed = "" if greedy else request.sampling.seed
                made_from = self._made_from(request.weights)
                asked[json.dumps([request.messages, request.response, seed, made_from])] += 1
                yield from super().generate([request])

    def _made_from(self, weights: str) -> str:
        """The key of the stage that trained them."""
        where = self._weights.get(weights)
        return Path(where).with_name("key.json").read_text() if where else weights


class CountingTrainer(FakeTrainer):
    def train(self, job, progress=silent):
        rows = [(example.messages, example.response) for example in job.examples]
        recipe = job.recipe
        made_of = [rows, recipe.num_train_epochs, recipe.learning_rate, job.seed, job.start_from is not None]
        trained[json.dumps(made_of)] += 1
        return super().train(job, progress)


class HastyTrainer(FakeTrainer):
    """Sees two rows in an epoch, so that epochs matter."""

    def train(self, job, progress=silent):
        seen = job.examples[: 2 * job.recipe.num_train_epochs]
        return super().train(dataclasses.replace(job, examples=seen), progress)
