"""Rows to label next: doubtful, dense, different, and of every answer."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from samples import topics_config, write_topics
from semievol.cli import main
from semievol.config import build, changed
from semievol.data import load
from semievol.errors import ConfigError
from semievol.pipeline import run
from semievol.report import ask as asking
from semievol.report.ask import ask, doubtful, worth_most
from semievol.retrieval import dense
from semievol.run_folder.folder import RunFolder

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


def places(doubt: list[float], answers: str, vectors: list[list[float]], count: int) -> list[int]:
    return worth_most(doubt, answers, np.array(vectors, dtype=np.float32), count)


def test_of_rows_that_are_alike_the_most_doubtful_comes_first() -> None:
    assert places([0.2, 0.9, 0.5], "aaa", [EAST] * 3, 1) == [1]


def test_a_row_like_no_other_is_worth_less_than_a_doubtful_one_among_many() -> None:
    assert places([0.9, 0.6, 0.6, 0.6], "aaaa", [NORTH, EAST, EAST, EAST], 1) == [1]


def test_a_row_like_one_that_was_taken_waits() -> None:
    near_north = [0.6, 0.8]
    assert places([0.9, 0.8, 0.5], "aaa", [EAST, EAST, near_north], 2) == [0, 2]


def test_each_answer_has_its_share_of_the_doubt() -> None:
    doubt, answers = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "aaaabb"
    chosen = places(doubt, answers, [EAST] * 6, 4)
    assert sorted(answers[place] for place in chosen) == ["a", "a", "a", "b"]


def test_no_more_rows_come_out_than_there_are() -> None:
    assert sorted(places([0.5, 0.5], "ab", [EAST, NORTH], 9)) == [0, 1]


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings of any text."""

    def embed(self: dense.Embedder, texts: list[str]) -> np.ndarray:
        vectors = np.array([[len(text), text.count("e"), 1.0] for text in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr(dense.Embedder, "embed", embed)


def test_the_file_filled_in_is_one_more_source_of_labels(tmp_path: Path, embedded: None, capsys) -> None:
    config = topics_config(tmp_path)
    run(config)
    output = tmp_path / "to-label.csv"
    assert main(["ask", str(tmp_path / "run"), "--rows", "6", "--output", str(output)]) == 0
    assert f"{output}: 6 rows to label; the models say" in capsys.readouterr().out
    with output.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len({row["id"] for row in rows}) == 6
    assert {row["topic"] for row in rows} == {""}
    assert all(row["models_say"] for row in rows)
    filled = output.read_text().replace(",,", ",sport,")
    output.write_text(filled)
    more = topics_config(tmp_path, data={"labeled": [str(tmp_path / "labeled.csv"), str(output)]})
    assert len(load(more).labeled) == 12 + 6


def test_the_file_has_the_columns_that_the_prompt_is_made_of(tmp_path: Path, embedded: None) -> None:
    config = topics_config(tmp_path)
    for name in ("labeled", "unlabeled", "test"):
        path = tmp_path / f"{name}.csv"
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([f"{header},desk", *(f"{row},front" for row in rows)]))
    config = changed(config, {"data": {"columns": {"prompt": f"{{desk}}: {{{config.data.columns.prompt}}}"}}})
    run(config)
    output = tmp_path / "to-label.jsonl"
    ask(config, load(config), 3, output)
    (first, *_) = map(json.loads, output.read_text().splitlines())
    assert first["desk"] == "front"
    assert set(first) == {"id", "desk", "text", "topic", "models_say", "doubt"}


def test_chats_of_which_the_answer_is_a_part_are_refused(tmp_path: Path, embedded: None) -> None:
    config = topics_config(tmp_path)
    run(config)
    for name in ("labeled", "unlabeled"):
        rows = csv.DictReader((tmp_path / f"{name}.csv").open())
        chats = [
            {"messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": "sport"}]}
            for row in rows
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, chats)))
    data = {"labeled": str(tmp_path / "labeled.jsonl"), "unlabeled": str(tmp_path / "unlabeled.jsonl"), "columns": {}}
    task = {"labels": ["sport", "weather"]}
    chatty = build({**config.model_dump(mode="json"), "data": data, "task": task})
    with pytest.raises(ConfigError, match="prompt and answer are one column"):
        ask(chatty, load(chatty), 3, tmp_path / "out.csv")


def test_doubt_is_the_probability_of_being_wrong_if_the_run_has_one(tmp_path: Path) -> None:
    write_topics(tmp_path / "labeled.csv", 40, seed=1)
    config = topics_config(tmp_path, preset="trusted", justify={"views": []}, collaborate={"gate": False})
    run(config, until="select")
    rows = doubtful(RunFolder(tmp_path / "run"), load(config).unlabeled)
    assert [row.doubt for row in rows] == sorted((row.doubt for row in rows), reverse=True)
    assert len({row.doubt for row in rows}) > 5


def test_a_run_that_has_not_selected_is_told_how_to(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config, until="collaborate")
    with pytest.raises(ConfigError, match="semievol stage select"):
        ask(config, load(config), 5, tmp_path / "out.csv")


def test_only_the_most_doubtful_rows_are_embedded(tmp_path: Path, embedded: None, monkeypatch) -> None:
    config = topics_config(tmp_path)
    run(config)
    monkeypatch.setattr(asking, "LOOKED_AT", 4)
    ask(config, load(config), 9, tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 4
