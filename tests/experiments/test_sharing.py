"""A grid never computes twice what two methods share."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

import counting
from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.errors import Stopped
from semievol.experiments.progress import GridReporter
from semievol.experiments.sharing import AnswerCache, RememberingBackend, Shelf
from semievol.pipeline import run
from semievol.records import Message, Request, Sampling
from semievol.run_folder.folder import RunFolder

COUNTED = {"backend": {"kind": "counting:CountingBackend"}, "training": {"kind": "counting:CountingTrainer"}}
NO_DENSE = ("vanilla", "RAG (BM25)", "SFT", "pseudo-label everything", "released recipe", "SemiEvol")


def request(id_: str, text: str = "rain", **sampling) -> Request:
    return Request(id_, (Message(role="user", content=text),), "base", Sampling(**sampling))


def test_an_ablation_trains_the_warm_up_once_and_asks_nothing_twice(experiment) -> None:
    found = experiment("ablation", sections=COUNTED)
    assert len(found.results) == 5
    assert not found.failures
    assert set(counting.trained.values()) == {1}
    assert sum(len(json.loads(made_of)[0]) == 12 for made_of in counting.trained) == 1  # the labeled rows
    assert set(counting.asked.values()) == {1}


@pytest.mark.parametrize("name", ["sensitivity", "continuous", "iterative", "entropy", "stability", "table1"])
def test_no_experiment_trains_or_asks_anything_twice(name: str, experiment) -> None:
    task = {"task": {"instruction": None}} if name == "stability" else {}
    methods = ("vanilla", "RAG (BM25)", "SFT", "SemiEvol") if name == "table1" else ()
    found = experiment(name, sections={**COUNTED, **task}, methods=methods, rounds=2)
    assert not found.failures
    assert set(counting.trained.values()) == {1}
    assert set(counting.asked.values()) == {1}


def test_the_search_and_the_runs_share_too(experiment) -> None:
    found = experiment("compare", sections=COUNTED, methods=NO_DENSE)
    assert not found.failures
    assert set(counting.trained.values()) == {1}
    assert set(counting.asked.values()) == {1}


def test_another_experiment_takes_what_an_earlier_one_made(experiment) -> None:
    experiment("sensitivity", sections=COUNTED)
    counting.forget()
    experiment("continuous", sections=COUNTED, sizes=(100,))
    once = counting.trained.total()
    assert once == 1  # evolution on fewer rows; the warm-up was there
    experiment("sensitivity", sections=COUNTED)
    assert counting.trained.total() == once
    assert set(counting.asked.values()) == {1}


def test_a_cell_of_a_grid_gives_the_bytes_of_a_lone_run(experiment, tmp_path: Path) -> None:
    found = experiment("sensitivity", counts=(2, 3), thetas=(30,))
    folder = RunFolder(next(result.run for result in found.results if result.method == "n = 3"))
    alone = tmp_path / "alone"
    config = topics_config(tmp_path, output=str(alone), task={"instruction": "?"}, collaborate={"n": 3})
    run(config)
    for place in ("collaborate/part-00000.parquet", "select/pseudo_labels.parquet", "evaluate/evolved.parquet"):
        assert (folder.path / place).read_bytes() == (alone / place).read_bytes()


def test_shared_stages_take_no_room(experiment) -> None:
    found = experiment("ablation")
    runs = (Path(result.run) for result in found.results if result.method in ("SemiEvol", "without adaptive selection"))
    one, other = (path / "warmup" / "adapter" / "votes.json" for path in runs)
    assert one.samefile(other)


def test_a_stage_that_was_finished_and_not_yet_shared_is_shared_by_the_next_run(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    run(topics_config(tmp_path), until="warmup", sharing=shelf)
    shutil.rmtree(tmp_path / "shelf" / "stages")
    run(topics_config(tmp_path), until="warmup", sharing=shelf)
    assert len(list((tmp_path / "shelf" / "stages").glob("warmup-*"))) == 1


def test_a_stage_that_was_under_way_is_replaced_by_a_finished_one(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    run(topics_config(tmp_path), until="collaborate", sharing=shelf)
    other = topics_config(tmp_path, output=str(tmp_path / "other"))
    run(other, until="collaborate", sharing=shelf)
    stage = tmp_path / "other" / "collaborate"
    (stage / "done.json").unlink()
    (stage / "part-00000.jsonl").write_text('{"torn')
    run(other, until="collaborate", sharing=shelf)
    assert (stage / "done.json").exists()
    assert not (stage / "part-00000.jsonl").exists()


def test_what_a_killed_process_was_leaving_is_swept_up_and_what_a_live_one_leaves_is_not(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    host, stages = socket.gethostname(), tmp_path / "shelf/stages"
    for pid in (killed.pid, os.getpid()):
        (stages / f".warmup-abc.{host}.{pid}").mkdir(parents=True)
    Shelf(tmp_path / "shelf")
    assert [path.name for path in stages.iterdir()] == [f".warmup-abc.{host}.{os.getpid()}"]


def test_the_model_stays_in_memory_until_the_last_cell(experiment, monkeypatch) -> None:
    freed = []
    held = ModuleType("semievol.local.model")
    held.free_local_model = lambda: freed.append(1)
    monkeypatch.setitem(sys.modules, "semievol.local.model", held)
    assert len(experiment("entropy").results) == 3
    assert len(freed) == 1
    run(topics_config(Path(tempfile.mkdtemp())), until="warmup")
    assert len(freed) == 2


class Engine(FakeBackend):
    """Records the ids that it computes, and those that it is given."""

    def __init__(self, config) -> None:
        super().__init__(config, {})
        self.computed: list[str] = []
        self.given: list[list[str]] = []

    def generate(self, requests, finished=(), stop=lambda: False):
        self.given.append([request.id for request in requests])
        for response in super().generate(requests, finished, stop):
            self.computed.append(response.id)
            yield response


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(topics_config(tmp_path))


@pytest.fixture
def remembering(engine: Engine, tmp_path: Path) -> RememberingBackend:
    return RememberingBackend(engine, AnswerCache(tmp_path / "answers.sqlite"), topics_config(tmp_path), {})


def test_a_known_answer_comes_back_under_the_id_of_who_asks(engine, remembering) -> None:
    (first,) = remembering.generate([request("a", seed=1, temperature=1.0)])
    (second,) = remembering.generate([request("b", seed=1, temperature=1.0)])
    assert second == dataclasses.replace(first, id="b")
    assert engine.computed == ["a"]


def test_another_seed_prompt_or_length_is_another_question(engine, remembering) -> None:
    for number, asked in enumerate(
        [
            request("0", temperature=1.0),
            request("1", temperature=1.0, seed=1),
            request("2", "snow", temperature=1.0),
            request("3", temperature=1.0, max_tokens=3),
            request("4", temperature=0.5),
            dataclasses.replace(request("5", temperature=1.0), response="sport"),
        ]
    ):
        list(remembering.generate([asked]))
        assert len(engine.computed) == number + 1


def test_a_greedy_answer_does_not_depend_on_the_seed(engine, remembering) -> None:
    list(remembering.generate([request("a", seed=1)]))
    list(remembering.generate([request("b", seed=2)]))
    assert engine.computed == ["a"]


def test_a_failed_request_is_asked_again(engine, remembering, monkeypatch) -> None:
    answer = FakeBackend._answer
    monkeypatch.setattr(
        engine, "_answer", lambda asked: dataclasses.replace(answer(engine, asked), finish="error", error="lost")
    )
    list(remembering.generate([request("a")]))
    monkeypatch.undo()
    (again,) = remembering.generate([request("a")])
    assert again.finish == "stop"


def test_an_interrupted_call_gives_the_engine_the_same_requests_again(engine, remembering) -> None:
    list(remembering.generate([request("known", "sunny")]))
    requests = [request("known", "sunny"), *(request(f"{i}", f"word {i}") for i in range(4))]
    stopped = iter([False, False, True])
    begun = [response.id for response in remembering.generate(requests, stop=lambda: next(stopped))]
    assert begun == ["known", "0", "1"]
    rest = [response.id for response in remembering.generate(requests, finished={"known", "0"})]
    assert sorted(rest) == ["1", "2", "3"]
    assert engine.given[1] == engine.given[2] == ["0", "1", "2", "3"]
    assert engine.computed == ["known", "0", "1", "2", "3"]


class StopsAfter(GridReporter):
    """Asks to stop after so many answers and steps."""

    def __init__(self, count: int) -> None:
        self.left = count

    def advance(self, count: int = 1, note: str = "") -> None:
        self.left -= count
        self.stopping = self.left <= 0


@pytest.mark.parametrize("moment", [5, 20, 100, 300])
def test_a_stopped_grid_goes_on_and_computes_nothing_again(moment: int, experiment, tmp_path: Path) -> None:
    whole = experiment("ablation", sections=COUNTED, out=tmp_path / "whole")
    asked, trained = counting.asked.copy(), counting.trained.copy()
    counting.forget()
    with pytest.raises(Stopped):
        experiment("ablation", StopsAfter(moment), sections=COUNTED)
    resumed = experiment("ablation", sections=COUNTED)
    assert counting.asked == asked
    # a training that was stopped starts again
    assert (counting.trained - trained).total() <= 1
    assert [result.metrics for result in resumed.results] == [result.metrics for result in whole.results]


def test_a_finished_grid_computes_nothing(experiment) -> None:
    experiment("ablation", sections=COUNTED)
    counting.forget()
    experiment("ablation", sections=COUNTED)
    assert not counting.asked
    assert not counting.trained


def test_other_data_under_the_same_names_is_another_run(experiment, tmp_path: Path) -> None:
    before = experiment("entropy")
    labeled = tmp_path / "labeled.csv"
    labeled.write_text("".join(labeled.read_text().splitlines(keepends=True)[:-2]))
    after = experiment("entropy")
    assert before.results[2].run != after.results[2].run


def test_folders_that_another_process_renames_do_not_disturb_the_sum_of_the_costs(tmp_path, monkeypatch) -> None:
    charge = {"what": "answers", "weights": "base", "requests": 1, "input": 9, "output": 1, "dollars": 2.0}
    for name in ("mine", "other", "renamed"):
        folder = tmp_path / "runs/task/seed-0" / name
        (folder / "evaluate").mkdir(parents=True)
        if name != "renamed":
            (folder / "costs.jsonl").write_text(json.dumps(charge) + "\n")
    seen = os.scandir

    def scandir(path):
        if "renamed" in str(path):
            raise FileNotFoundError(path)
        return seen(path)

    monkeypatch.setattr(os, "scandir", scandir)
    mine = RunFolder(tmp_path / "runs/task/seed-0/mine")
    assert Shelf(tmp_path / "shared").paid_beside(mine) == 2.0
