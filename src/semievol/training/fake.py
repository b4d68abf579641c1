"""Trains the fake backend's model: counts which words stand with which response."""

import json
from collections import Counter, defaultdict
from pathlib import Path

from semievol.backends.fake import VOTES_FILE
from semievol.errors import TrainingError
from semievol.run_folder.place import on_disk
from semievol.training import Progress, Trained, silent
from semievol.training.job import Job


class FakeTrainer:
    """Counts instead of training."""

    def train(self, job: Job, progress: Progress = silent) -> Trained:
        """Weights that hold the counts of the examples, on top of those that the job starts from."""
        examples, out = job.examples, on_disk(job.out)
        if not examples:
            raise TrainingError("there is nothing to train on")
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        if job.start_from is not None:
            for word, counts in json.loads(Path(job.start_from, VOTES_FILE).read_text(encoding="utf-8")).items():
                votes[word].update(counts)
        for step, example in enumerate(examples, 1):
            for word in set(example.messages[-1]["content"].lower().split()):
                votes[word][example.response] += 1
            progress(step, len(examples), None)
        out.mkdir(parents=True, exist_ok=True)
        out.joinpath(VOTES_FILE).write_text(json.dumps(votes, sort_keys=True), encoding="utf-8")
        tokens = sum(len(example.messages[-1]["content"].split()) for example in examples)
        return Trained(weights=str(out), steps=len(examples), tokens=tokens, losses=())
