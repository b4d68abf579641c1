"""What a file seems to hold, and the first config that is written for it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semievol import config
from semievol.cli import main
from semievol.config import load
from semievol.data.sources import resolve
from semievol.errors import ConfigError, DataError
from semievol.forecast import guess as guessing
from semievol.forecast import starting
from semievol.forecast.check import check
from semievol.forecast.guess import Guesses, guess
from semievol.forecast.starting import start

MEANT = ("convfinqa", "fpb", "pubmedqa")
"""Data whose config says otherwise than its columns do: these are alpaca's, or options and letters beside labels."""
CONFIGS = [
    file
    for file in sorted((Path(__file__).parents[2] / "configs").glob("*-smollm2.yaml"))
    if not file.name.startswith(MEANT)
]


def table(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def guesses_of(path: Path, **named: str) -> Guesses:
    return guess(resolve("data.labeled", str(path)).open(), named)


def tickets(folder: Path, answered: int = 60, rows: int = 90) -> Path:
    teams = ["billing", "access & login", "no"]
    lines = [
        [
            f"T{n}",
            f"Ticket {n}",
            f"It does not work {n} times, and I am at a loss.",
            teams[n % 3] if n < answered else "",
        ]
        for n in range(rows)
    ]
    return table(folder / "tickets.csv", ["ticket_id", "subject", "body", "team"], lines)


@pytest.mark.data
@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_public_data_is_understood_as_its_config_says(
    file: Path, benchmark_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMIEVOL_DATA", str(benchmark_data))
    meant = load(file)
    found = guess(resolve("data.labeled", meant.data.labeled).open(), {})
    assert found.kind.value == meant.task.kind
    assert (found.prompt.value, found.answer.value) == (meant.data.columns.prompt, meant.data.columns.answer)
    assert (found.options and found.options.value) == meant.data.columns.options
    assert (found.answer_pattern and found.answer_pattern.value) == meant.task.answer_pattern


def test_a_heading_and_what_stands_below_it_are_one_prompt(tmp_path: Path) -> None:
    found = guesses_of(tickets(tmp_path))
    assert found.prompt.value == ("subject", "body")
    assert found.answer.value == "team"
    assert found.id is not None
    assert found.id.value == "ticket_id"
    assert found.kind.value == "label"
    assert (found.rows, found.answered) == (90, 60)


@pytest.mark.parametrize(
    ("header", "row", "kind", "prompt", "answer"),
    [
        (["q", "n"], lambda n: [f"What is {n} plus two?", n * 37], "number", "q", "n"),
        (
            ["question", "answer"],
            lambda n: ["Why? " * 5, f"Because of {n} and {n * n}"],
            "free_text",
            "question",
            "answer",
        ),
        (["weird", "mark"], lambda n: [f"some words stand here {n}", "ab"[n % 2]], "label", "weird", "mark"),
        (["text", "stars"], lambda n: [f"some words stand here {n}", n % 5], "label", "text", "stars"),
        (
            ["text", "tags"],
            lambda n: [f"words {n}", ["clean", "quiet, clean", "quiet; cheap", "cheap"][n % 4]],
            "labels",
            "text",
            "tags",
        ),
        (["text", "label"], lambda n: [f"words {n}", f"#{n} x #### {n}"], "number", "text", "label"),
        (
            ["question", "options", "answer"],
            lambda n: [f"Which one is it, number {n}?", json.dumps(["x", "y", "z"]), "ABC"[n % 3]],
            "multiple_choice",
            "question",
            "answer",
        ),
        (
            ["question", "A", "B", "answer"],
            lambda n: [f"Which one is it, number {n}?", f"x{n}", f"y{n}", "AB"[n % 2]],
            "multiple_choice",
            "question",
            "answer",
        ),
    ],
)
def test_kinds_of_tasks_are_told_by_their_answers(
    tmp_path: Path, header: list[str], row: Callable[[int], list[Any]], kind: str, prompt: str, answer: str
) -> None:
    path = table(tmp_path / "rows.csv", header, [row(n) for n in range(80)])
    named = {"answer": "n"} if "n" in header else {}
    found = guesses_of(path, **named)
    assert (found.kind.value, found.prompt.value, found.answer.value) == (kind, prompt, answer)


def test_chats_are_known_by_their_layout(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    turns = [[("user", f"Is {n} even?"), ("assistant", "yes" if n % 2 == 0 else "no")] for n in range(30)]
    rows = [{"messages": [{"role": role, "content": text} for role, text in chat]} for chat in turns]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = guesses_of(path)
    assert (found.layout, found.kind.value, found.answered) == ("messages", "label", 30)
    assert main(["init", str(path), str(tmp_path / "chats.yaml")]) == 0
    assert check(load(str(tmp_path / "chats.yaml")), measure=False).report.rows == {
        "labeled": 10,
        "unlabeled": 20,
        "test": 0,
    }


def test_answers_that_are_lists_are_sets_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"words {n}", "labels": [["a"], ["a", "b"], ["b", "c"], ["c"]][n % 4]} for n in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = guesses_of(path)
    assert (found.answer.value, found.kind.value) == ("labels", "labels")


def test_none_is_no_label_of_a_set(tmp_path: Path) -> None:
    answers = ["a", "a, b", "none", "b, c", "c"]
    path = table(tmp_path / "rows.csv", ["text", "labels"], [[f"words {n}", answers[n % 5]] for n in range(40)])
    assert guesses_of(path).kind.reason == "16 of 40 answers list several of 3 labels"


def test_what_the_user_says_counts(tmp_path: Path) -> None:
    found = guesses_of(tickets(tmp_path), prompt="body", answer="subject", kind="free_text")
    assert (found.prompt.value, found.answer.value, found.kind.value) == ("body", "subject", "free_text")
    with pytest.raises(DataError, match=r"no column 'boddy' \(--prompt\).*Did you mean 'body'"):
        guesses_of(tickets(tmp_path), prompt="boddy")


def test_where_nothing_looks_like_an_answer_its_column_is_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path / "rows.csv", ["text"], [[f"some words {n}"] for n in range(9)])
    with pytest.raises(ConfigError, match="none of the columns 'text' looks like an answer; name it with --answer"):
        guesses_of(path)


def test_all_rows_are_counted_and_all_labels_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "LOOKED_AT", 20)
    rows = [[f"words stand here {n}", "rare" if n == 70 else "ab"[n % 2]] for n in range(80)]
    found = guesses_of(table(tmp_path / "rows.csv", ["text", "label"], rows))
    assert (found.rows, found.answered) == (80, 80)
    assert found.labels is not None
    assert found.labels.value == {"a": 39, "b": 40, "rare": 1}


def written(folder: Path, *arguments: str) -> config.Config:
    assert main(["init", *arguments, "--yes"]) == 0
    (file,) = folder.glob("*.yaml")
    return load(file)


def test_a_file_with_blanks_serves_for_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tickets(tmp_path)
    made = written(tmp_path, "tickets.csv")
    said = capsys.readouterr().out
    assert "prompt: subject, body (their names: a heading and what stands below it)" in said
    assert "tickets.yaml written" in said
    assert made.output == "runs/tickets"
    assert set(made.task.labels) == {"billing", "access & login", "no"}
    rows = check(made, measure=False).report.rows
    assert rows == {"labeled": 45, "unlabeled": 30, "test": 15}


def test_a_file_that_is_labeled_whole_is_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tickets(tmp_path, answered=90)
    rows = check(written(tmp_path, "tickets.csv"), measure=False).report.rows
    assert rows == {"labeled": 22, "unlabeled": 46, "test": 22}


def test_three_files_are_labeled_unlabeled_and_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, answered in (("some", 90), ("more", 0), ("test", 90)):
        (tmp_path / name).mkdir()
        tickets(tmp_path / name, answered=answered)
    made = written(tmp_path, "some/tickets.csv", "more/tickets.csv", "test/tickets.csv", "mine.yaml")
    assert made.data.labeled_rows is None
    assert (made.data.labeled, made.data.unlabeled, made.data.test) == tuple(
        f"{name}/tickets.csv" for name in ("some", "more", "test")
    )
    with pytest.raises(DataError, match="no such file"):
        start("some/tickets.csv", "mor/tickets.csv", None, {}, None)


def test_on_a_terminal_a_guess_can_be_put_right(tmp_path: Path) -> None:
    replies = {"answer": "subject", "kind": "free_text"}
    begun, _ = start(
        str(tickets(tmp_path)), None, None, {}, lambda question, guessed: replies.get(question.split()[0], guessed)
    )
    assert "answer: subject" in begun.data
    assert "kind: free_text" in begun.task
    assert not begun.per_answer


def test_an_open_set_has_no_threshold_for_each_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "sums.csv", ["question", "answer"], [[f"What is {n} plus two?", n * 37] for n in range(80)])
    made = written(tmp_path, "sums.csv")
    assert made.task.kind == "number"
    assert not made.select.per_answer
    assert check(made, measure=False)


@pytest.mark.parametrize(
    ("gigabytes", "name", "quantization"),
    [(80, "meta-llama/Llama-3.1-8B-Instruct", None), (16, "meta-llama/Llama-3.1-8B-Instruct", "nf4"), (6, None, None)],
)
def test_the_model_is_one_that_the_gpu_holds(
    monkeypatch: pytest.MonkeyPatch, gigabytes: float, name: str | None, quantization: str | None
) -> None:
    monkeypatch.setattr(starting, "resolve_device", lambda model: "cuda")
    monkeypatch.setattr(starting, "memory_of", lambda model: gigabytes * starting.GB)
    model, _, training, reason = starting.machine()
    made = config.build(config.yaml_text.parsed(model + training, "start"))
    assert made.model.name == (name or config.ModelConfig().name)
    assert made.model.quantization == quantization
    assert f"{gigabytes:.0f} GB" in reason


def test_a_key_in_the_environment_is_said_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    _, engine, _, _ = starting.machine()
    assert "OPENAI_API_KEY is set" in engine
    assert "sk-secret" not in engine
    assert config.build(config.yaml_text.parsed(engine.replace("# ", "").partition("(docs/services.md).")[2], "start"))
