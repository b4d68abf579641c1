"""Memory does not grow with the unlabeled rows: a run holds some shards of them."""

import pickle
import socket
from collections import Counter
from pathlib import Path

from samples import held, topics_config, write_topics
from semievol.data import load
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.records import Candidate, Example, Request, Response, TrainingExample
from semievol.run_folder.stage import Stage
from semievol.stages.round import shards

KINDS = (Example, TrainingExample, Request, Response, Candidate)
ROWS, SHARD, READ = 1500, 16, 256


class Watching(Reporter):
    """Counts, while a run works, the rows of each kind that are in memory."""

    def __init__(self) -> None:
        self.calls = 0
        self.before = held(*KINDS)
        self.most: Counter[type] = Counter()

    def advance(self, count: int = 1, note: str = "") -> None:
        self.calls += 1
        if self.calls % 401 == 0:
            self.most |= held(*KINDS) - self.before


def test_a_run_of_many_rows_holds_a_few_shards_of_them(tmp_path: Path) -> None:
    write_topics(tmp_path / "unlabeled.csv", ROWS, seed=1)
    watching = Watching()
    run(topics_config(tmp_path, rounds=2, evaluate={"unlabeled_answers": "topic"}), reporter=watching)
    assert watching.calls > 4 * ROWS
    assert 0 < watching.most[Example] <= 3 * READ
    assert 0 < watching.most[Request] <= 6 * SHARD  # four collaborators, justifications, scores
    assert 0 < watching.most[Response] <= 8 * SHARD
    assert 0 < watching.most[Candidate] <= 6 * SHARD
    assert watching.most[TrainingExample] <= 1


def test_a_shard_of_stored_rows_is_sent_as_a_place_and_not_as_rows(tmp_path: Path) -> None:
    write_topics(tmp_path / "unlabeled.csv", ROWS, seed=1)
    unlabeled = load(topics_config(tmp_path), tmp_path / "rows").unlabeled
    cut = shards(unlabeled, SHARD)
    assert len(pickle.dumps(cut[5])) < 500
    assert list(pickle.loads(pickle.dumps(cut[5])).rows) == list(unlabeled)[5 * SHARD : 6 * SHARD]
    assert [len(shard.rows) for shard in cut] == [SHARD] * (ROWS // SHARD) + [ROWS % SHARD]


def test_rows_of_other_data_and_of_killed_processes_are_removed(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config, until="warmup")
    rows = tmp_path / "run" / "rows"
    current = set(rows.iterdir())
    (rows / f".partial.{socket.gethostname()}.{2**22 + 1}").write_bytes(b"torn")  # more than a process' number can be
    (rows / f"{'0' * 64}.arrow").write_bytes(b"")
    run(config, until="warmup")
    assert set(rows.iterdir()) == current
    assert len(current) == 2  # unlabeled and test


def test_shards_stay_in_order_beyond_five_digits(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for index in (100_000, 99_999, 0):
        stage.shards.part_path(index).touch()
    assert stage.shards.parts() == [stage.shards.part_path(index) for index in (0, 99_999, 100_000)]
