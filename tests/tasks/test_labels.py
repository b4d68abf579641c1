"""Sets of labels: all that apply, or none."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from samples import topics_config
from semievol.config import TaskConfig, build
from semievol.data import load
from semievol.errors import ConfigError, DataError
from semievol.metrics import f1_of_sets
from semievol.pipeline import run
from semievol.records import Example
from semievol.tasks.labels import Labels

AMENITIES = ("clean", "quiet", "near the sea", "no pets")


def row(answer: str | None = None) -> Example:
    return Example(id="1", prompt="A kind host.", answer=answer)


def task(*labels: str, rows: list[str] | None = None, **options: object) -> Labels:
    return Labels(TaskConfig(kind="labels", labels=labels, **options), [row(one) for one in rows or []])


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        ("quiet, clean", "clean, quiet"),
        ("quiet; clean; quiet", "clean, quiet"),
        ("Quiet|Near the Sea", "quiet, near the sea"),
        ('["quiet", "no pets"]', "quiet, no pets"),
        ("['quiet' , 'no pets']", "quiet, no pets"),
        ("quiet", "quiet"),
        ("none", "none"),
        ("[]", "none"),
        ("quiet\nclean", "clean, quiet"),
    ],
)
def test_a_cell_is_a_set_in_the_tasks_order(cell: str, answer: str) -> None:
    assert task(*AMENITIES).normalize(row(cell)).answer == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("quiet, clean", "clean, quiet"),
        ("clean and quiet", "clean, quiet"),
        ("Labels: quiet, and near the sea", "quiet, near the sea"),
        ("The answer is clean.", "clean"),
        ("- quiet\n- clean", "clean, quiet"),
        ("It is clean, but not quiet.", "clean"),
        ("The room was clean; the beach makes it near the sea too", "clean, near the sea"),
        ("none", "none"),
        ("None of these.", "none"),
        ("**quiet**", "quiet"),
        ('{"answer": "quiet, clean"}', "clean, quiet"),
        ("<think>clean? no</think>quiet", "quiet"),
        ("I cannot say.", None),
        ("", None),
    ],
)
def test_a_response_is_the_labels_that_it_lists_or_names(response: str, answer: str | None) -> None:
    assert task(*AMENITIES).parse(response, row()) == answer


def test_labels_come_from_all_parts_of_the_labeled_answers() -> None:
    assert task(rows=["quiet, clean", "clean", "none", '["no pets"]']).labels() == ("clean", "no pets", "quiet")
    assert task(rows=["black and white; red", "red", "red"]).labels() == ("black and white", "red")


def test_labels_that_hold_commas_are_parted_by_semicolons() -> None:
    one = task("a, b", "c")
    assert one.normalize(row("c; a, b")).answer == "a, b; c"
    assert one.normalize(row("a, b")).answer == "a, b"
    assert one.labels_of("a, b; c") == {"a, b", "c"}
    assert "a, b; c" in one.default_instruction


def test_what_is_no_label_is_named() -> None:
    with pytest.raises(DataError, match="'loud' is not one of the labels clean, quiet"):
        task(*AMENITIES).normalize(row("clean, loud"))


def test_a_response_that_was_cut_has_no_answer_unless_it_is_marked() -> None:
    assert task(*AMENITIES).parse_cut("clean, quiet", row()) is None
    assert task(*AMENITIES).parse_cut("<answer>clean, quiet</answer>", row()) == "clean, quiet"


def test_a_label_that_is_called_none_is_a_label() -> None:
    one = task("none", "some")
    assert one.normalize(row("none")).answer == "none"
    assert one.labels_of("none") == {"none"}
    assert one.normalize(row("[]")).answer == "no label"


def test_the_labels_of_the_rows_are_counted() -> None:
    rows = ["quiet, clean", "clean", "none"]
    one = task("clean", "quiet", rows=rows)
    assert one.notes([row(each) for each in rows]) == ("1.0 labels a row; clean 2, quiet 1",)


def test_f1_of_sets_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, answers = (
            [frozenset(rng.choice(list("abcd"), rng.integers(0, 4), replace=False).tolist()) for _ in range(30)]
            for _ in range(2)
        )
        binarizer = MultiLabelBinarizer().fit([*truth, *answers])
        matrices = [binarizer.transform(sets) for sets in (truth, answers)]
        expected = tuple(f1_score(*matrices, average=average) for average in ("micro", "macro"))
        assert f1_of_sets(truth, answers) == pytest.approx(expected)
    assert f1_of_sets([frozenset()], [frozenset()]) == (0.0, 0.0)


def test_a_run_learns_sets_from_lists_in_json(tmp_path: Path) -> None:
    topics = {"rain": "weather", "goal": "sport", "bank": "money"}
    words = list(topics)
    rows = []
    for number in range(60):
        chosen = [word for place, word in enumerate(words) if number >> place & 1]
        rows.append({"text": " ".join([*chosen, f"item{number}"]), "topic": [topics[word] for word in chosen]})
    for name, part in (("labeled", rows[:24]), ("test", rows[24:36])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, part)))
    (tmp_path / "unlabeled.jsonl").write_text("\n".join(json.dumps({"text": each["text"]}) for each in rows[36:]))
    data = {name: str(tmp_path / f"{name}.jsonl") for name in ("labeled", "unlabeled", "test")}
    config = topics_config(tmp_path, data=data, task={"kind": "labels"})
    assert load(config).labeled[3].answer == "sport, weather"
    result = run(config)
    assert result.metrics is not None
    figures = result.metrics["models"]["evolved"]
    assert {"accuracy", "micro_f1", "macro_f1"} <= set(figures)
    assert figures["micro_f1"] >= figures["accuracy"]


def test_what_needs_a_closed_set_is_refused() -> None:
    config = {"task": {"kind": "labels"}, "preset": "trusted"}
    assert build(config).collaborate.how == "sample"
    with pytest.raises(ConfigError):
        build({"task": {"kind": "number", "label_descriptions": {"a": "b"}}})
    assert build({"task": {"kind": "labels", "label_descriptions": {"a": "b"}}})
