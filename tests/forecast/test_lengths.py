"""How long responses may be, and what becomes of those that are cut."""

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from samples import topics_config
from semievol.cli import main
from semievol.config import Config, TaskConfig, dump
from semievol.data import load
from semievol.forecast.lengths import LEAST, cut_note, fitted, token_counts
from semievol.pipeline import run
from semievol.predict import predict
from semievol.progress import Reporter
from semievol.records import Example, Request, Response
from semievol.run_folder.parquet import read_rows
from semievol.tasks import answer_in, open_task
from tiny import save_tiny_model
from watched import SAYS, WATCHED

OPTIONS = ("zinc", "zinc oxide", "lead", "tin")


def read(kind: str, text: str, finish: Any = "length", **options: Any) -> str | None:
    task = open_task(TaskConfig(kind=kind, **options), ())
    row = Example("1", "Which?", options=OPTIONS if kind == "multiple_choice" else ())
    return answer_in(task, Response("1", text, None, finish, 0, 0), row)


@pytest.mark.parametrize(
    ("kind", "options", "text", "answer"),
    [
        ("number", {}, "He has 40 - 4 = 36 apples and", None),
        ("number", {}, "The answer is 12", None),
        ("number", {}, "12", None),
        ("number", {}, "So \\boxed{12}, because", "12"),
        ("number", {}, '{"answer": 12, "why": "as', "12"),
        ("number", {}, '{"answer": 12', None),
        ("number", {"answer_pattern": "#### (.+)"}, "6 + 6 = 12\n#### 12", None),
        ("number", {"answer_pattern": "#### (.+)"}, "6 + 6 = 12\n#### 12\nThat", "12"),
        ("number", {"answer_pattern": "#### (.+)"}, "6 + 6 = 12\n#### 12 ap", None),
        ("number", {"answer_pattern": "#### (.+)"}, "#### 12\nNo, it is\n#### 1", None),
        ("number", {"answer_pattern": r"#### (-?[\d.,]+)"}, "6 + 6 = 12\n#### 12 ap", "12"),
        ("number", {"answer_pattern": r"#### (-?[\d.,]+)"}, "6 + 6 = 12\n#### 12.", None),
        ("number", {"answer_pattern": "<result>(.+)</result>"}, "<result>12</result>", "12"),
        ("number", {"answer_pattern": "<result>(.+)</result>"}, "<result>12</res", None),
        ("number", {}, "#### 12\n#### 1", None),
        ("number", {}, "6 + 6 = 12\nQuestion: What is", "12"),
        ("label", {"labels": ("money", "money-fx"), "answer_pattern": "So: (.+)"}, "So: money-fx", "money-fx"),
        ("label", {"labels": ("money", "money-fx"), "answer_pattern": "So: (.+)"}, "So: money", None),
        ("label", {"labels": ("money", "money-fx", "grain")}, "grain", "grain"),
        ("label", {"labels": ("money", "money-fx", "grain")}, "money-fx", "money-fx"),
        ("label", {"labels": ("money", "money-fx", "grain")}, "money", None),
        ("label", {"labels": ("money", "money-fx", "grain")}, "Answer: grain\nIt speaks of", "grain"),
        ("label", {"labels": ("money", "money-fx", "grain")}, "It could be grain or", None),
        ("label", {"labels": ("yes", "no")}, "Yes, because the", "yes"),
        ("multiple_choice", {}, "B", "B"),
        ("multiple_choice", {}, "Answer: B. It is", "B"),
        ("multiple_choice", {}, "lead", "C"),
        ("multiple_choice", {}, "zinc", None),
        ("multiple_choice", {}, "Both (B) and", None),
        ("multiple_choice", {}, "I think that (B) is a", None),
        ("multiple_choice", {}, "Answer: lead\nIt is", "C"),
        ("multiple_choice", {}, "The answer is lead. It is", "C"),
        ("multiple_choice", {}, "The answer is zinc o", None),
        ("multiple_choice", {}, "The c", None),
        ("multiple_choice", {"answer_pattern": "So: (.+)"}, "So: B", "B"),
        ("free_text", {}, "The Eiffel", None),
        ("free_text", {}, "<answer>The Eiffel Tower</answer> is", "The Eiffel Tower"),
        ("number", {}, "<think>12 or 13", None),
    ],
)
def test_a_response_that_was_cut_has_an_answer_only_where_its_form_is_complete(
    kind: str, options: Mapping[str, Any], text: str, answer: str | None
) -> None:
    assert read(kind, text, **options) == answer


@pytest.mark.parametrize("text", ["He has 40 - 4 = 36", "The answer is 12", "12", "6 + 6 = 12\n#### 12"])
def test_the_same_text_has_an_answer_where_it_was_not_cut(text: str) -> None:
    assert read("number", text, finish="stop") is not None
    assert read("number", text, finish="error") is None


def solved(folder: Path, cut: Mapping[str, str], **sections: Any) -> Config:
    """A run on worked solutions, in which the responses of the collaborators named in `cut` were cut."""
    for name, rows in (("labeled", 6), ("unlabeled", 5), ("test", 4)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
            out = csv.writer(handle)
            out.writerow(["text", "topic"])
            out.writerows([f"{name} sum {row}", f"3 + 4 = 7\n#### 7\n{name}"] for row in range(rows))
    return topics_config(
        folder,
        backend=WATCHED,
        task={"kind": "number", "answer_pattern": r"#### (\d+)"},
        collaborate={"collaborators": [{"weights": "warm"}, {"weights": "base"}]},
        justify={"mode": "majority"},
        select={"enabled": False},
        **sections,
    )


@pytest.fixture
def cut(asked: list[Request]) -> dict[str, str]:
    """Parts of ids of requests -> how their responses end, and what all say."""
    ends: dict[str, str] = {}

    def ended(request: Request, response: Response) -> Response:
        if request.response is not None:
            return response
        finish: Any = next((end for part, end in ends.items() if part in request.id), "stop")
        text = f"by {request.weights}: 3 + 4 = 7\n#### 7\nand" if request.weights != "evolved" else "about 7"
        return dataclasses.replace(response, text=text, finish=finish)

    SAYS.append(ended)
    return ends


def pseudo(run_folder: Path) -> list[dict[str, Any]]:
    return list(read_rows(run_folder / "select" / "pseudo_labels.parquet"))


def test_a_cut_solution_never_trains_even_where_its_answer_is_read(tmp_path: Path, cut: dict[str, str]) -> None:
    cut["/warm+0"] = "length"
    result = run(solved(tmp_path, cut))
    for row in pseudo(result.path):
        assert [each["finish"] for each in row["candidates"]] == ["length", "stop"]
        assert [each["answer"] for each in row["candidates"]] == ["7", "7"]
        assert (row["origin"], row["kept"]) == ("unanimous", True)
        assert row["response"].startswith("by base")


def test_a_row_all_of_whose_solutions_were_cut_is_left_out(tmp_path: Path, cut: dict[str, str]) -> None:
    cut |= {"unlabeled-1/": "length", "unlabeled-3/": "length"}
    result = run(solved(tmp_path, cut))
    left = {row["id"]: row["reason"] for row in pseudo(result.path) if not row["kept"]}
    assert left == dict.fromkeys(("unlabeled-1", "unlabeled-3"), "every response with this answer was cut")
    assert json.loads((result.path / "evolve/done.json").read_text(encoding="utf-8"))["rows"] == 6 + 3


def test_what_was_cut_is_counted_and_said(
    tmp_path: Path, cut: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    cut |= {"test-0/evolved": "length", "test-1/": "length"}
    file = tmp_path / "config.yaml"
    file.write_text(dump(solved(tmp_path, cut)), encoding="utf-8")
    assert main(["run", str(file)]) == 0
    said = "cut for their length: 1 of vanilla, 1 of SFT (labeled only), 2 of SemiEvol; raise evaluate.max_tokens"
    assert " ".join(capsys.readouterr().out.split()).count(said) == 1
    for page in ("report.html", "README.md"):
        assert "cut for their length: 1 of vanilla" in (tmp_path / "run" / page).read_text(encoding="utf-8")
    rows = {row["id"]: row for row in read_rows(tmp_path / "run/evaluate/evolved.parquet")}
    assert [(rows[f"test-{at}"]["finish"], rows[f"test-{at}"]["answer"]) for at in (0, 2)] == [
        ("length", None),
        ("stop", "7"),
    ]
    assert json.loads((tmp_path / "run/collaborate/done.json").read_text(encoding="utf-8"))["cut"] == 0


def test_predict_says_what_was_cut(tmp_path: Path, cut: dict[str, str]) -> None:
    config = solved(tmp_path, cut)
    run(config, until="warmup")
    cut["/warm"] = "length"
    cut["0"] = "length"
    (tmp_path / "new.csv").write_text("text\na sum\nanother\n", encoding="utf-8")
    said = predict(config, "warm", str(tmp_path / "new.csv"), str(tmp_path / "out.jsonl"), Reporter())
    assert "cut for their length" in said


def words(folder: Path, answers: list[str], **sections: Any) -> Config:
    for name in ("labeled", "unlabeled", "test"):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
            out = csv.writer(handle)
            out.writerow(["text", "topic"])
            out.writerows([f"{name} {row} {answer}", answer] for row, answer in enumerate(answers))
    return topics_config(folder, **sections)


def test_auto_is_what_the_labeled_responses_need_with_room_in_the_models_own_tokens(tmp_path: Path) -> None:
    model = {"name": save_tiny_model(tmp_path / "model"), "dtype": "float32", "device": "cpu"}
    long = "Complaint: the parcel was delivered late and nobody answered any of the messages"
    config = words(tmp_path, [long, "Praise"], model=model, training={"kind": "local"})
    dataset = load(config, tmp_path / "rows")
    (needed,) = token_counts(config, [long])
    assert needed > LEAST
    found = fitted(config, dataset)
    assert found.longest == -(-3 * needed // 2) + 8
    assert found.longest_at_test == max(64, found.longest)  # a model that was not trained says it in a sentence
    assert list(cut_note(found, dataset)) == []
    short = words(tmp_path, ["up", "down"], model=model, training={"kind": "local"})
    least = fitted(short, load(short, tmp_path / "short"))
    assert (least.longest, least.longest_at_test) == (LEAST, 64)


def test_auto_counts_labels_that_no_row_has(tmp_path: Path) -> None:
    labels = ["up", "down", "sideways " * 40]
    config = words(tmp_path, ["up", "down"], task={"labels": labels})
    assert fitted(config, load(config, tmp_path / "rows")).longest > 100


def test_check_says_how_many_labeled_answers_would_be_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "the parcel was delivered late and nobody answered any of the messages that were sent"
    config = words(tmp_path, [f"Complaint: {long}", f"Praise: not {long}"], collaborate={"max_tokens": 16})
    file = tmp_path / "config.yaml"
    file.write_text(dump(config), encoding="utf-8")
    assert main(["check", str(file)]) == 0
    assert "2 of 2 labeled answers are longer than collaborate.max_tokens, 16 tokens" in " ".join(
        capsys.readouterr().out.split()
    )
    assert main(["check", str(file), "--set", "collaborate.max_tokens=auto"]) == 0
    assert "longer than" not in capsys.readouterr().out
