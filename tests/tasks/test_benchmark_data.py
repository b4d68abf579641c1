"""Every gold answer of the public benchmarks reads, and reads back from the response that trains it."""

import csv
import json
import sys
from collections import Counter

import pytest

from semievol.config import TaskConfig
from semievol.records import Example
from semievol.tasks import open_task

pytestmark = pytest.mark.data
SPLITS = ("labeled", "unlabeled", "test")


def rows_of(folder, split):
    path = folder / f"{split}.csv"
    if path.exists():
        csv.field_size_limit(sys.maxsize)
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    # Read by line feed: some questions hold U+2028, at which str.splitlines would cut them.
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def examples_of(folder, split, answer="answer", with_options=True):
    return [
        Example(
            id=f"{split}-{number}",
            prompt=row["question"],
            answer=row[answer],
            options=tuple(map(str, json.loads(row["options"]))) if with_options else (),
        )
        for number, row in enumerate(rows_of(folder, split))
    ]


def normalized(config, folder, **columns):
    raw = {split: examples_of(folder, split, **columns) for split in SPLITS}
    task = open_task(config, raw["labeled"])
    done = [task.normalize(one) for split in SPLITS for one in raw[split]]
    assert [one.id for one in done if task.parse(task.response(one), one) != one.answer] == []
    return done


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        ("arc", {"A": 569, "B": 680, "C": 679, "D": 661, "E": 1}),
        ("fpb", {"A": 303, "B": 1391, "C": 570}),
        ("mmlu", {"A": 3222, "B": 3462, "C": 3582, "D": 3776}),
        (
            "mmlu_pro",
            {"A": 539, "B": 568, "C": 514, "D": 538, "E": 448, "F": 432, "G": 460, "H": 476, "I": 443, "J": 395},
        ),
        ("pubmedqa", {"A": 338, "B": 110, "C": 552}),
        ("usmle", {"A": 1151, "B": 1170, "C": 1187, "D": 1073}),
    ],
)
def test_option_letters(benchmark_data, name, letters):
    done = normalized(TaskConfig(kind="multiple_choice"), benchmark_data / name)
    assert Counter(one.answer for one in done) == letters


def test_arc_has_26_numbers_for_letters_and_all_are_unlabeled(benchmark_data):
    counts = {s: sum(r["answer"].isdigit() for r in rows_of(benchmark_data / "arc", s)) for s in SPLITS}
    assert counts == {"labeled": 0, "unlabeled": 26, "test": 0}


def test_options_whose_texts_are_letters_keep_their_key(benchmark_data):
    """The 8 rows where the gold letter is also the text of an option: 1 in ARC, 2 in MMLU, 5 in USMLE."""
    found = Counter()
    for name in ("arc", "mmlu", "usmle"):
        raw = {split: examples_of(benchmark_data / name, split) for split in SPLITS}
        task = open_task(TaskConfig(kind="multiple_choice"), raw["labeled"])
        for one in (one for split in SPLITS for one in raw[split] if one.answer in one.options):
            found[name] += 1
            assert task.normalize(one).answer == one.answer
    assert found == {"arc": 1, "mmlu": 2, "usmle": 5}


def test_fpb_by_label_names_agrees_with_its_letters(benchmark_data):
    names = normalized(TaskConfig(kind="label"), benchmark_data / "fpb", answer="gt")
    letters = normalized(TaskConfig(kind="multiple_choice"), benchmark_data / "fpb", answer="gt")
    columns = normalized(TaskConfig(kind="multiple_choice"), benchmark_data / "fpb")
    assert Counter(one.answer for one in names) == {"neutral": 1391, "positive": 570, "negative": 303}
    assert [one.answer for one in letters] == [one.answer for one in columns]


def test_convfinqa_answers_stand_behind_answer(benchmark_data):
    done = normalized(TaskConfig(kind="number"), benchmark_data / "convfinqa", with_options=False)
    given = [row["output"] for split in SPLITS for row in rows_of(benchmark_data / "convfinqa", split)]
    assert len(done) == 100
    assert [float(one.answer) for one in done] == [float(one) for one in given]
    assert sum(abs(float(one.answer)) < 1 for one in done) == 26


def test_gsm8k_solutions_train_and_their_numbers_are_the_answers(benchmark_data):
    config = TaskConfig(kind="number", answer_pattern="#### (.+)")
    done = normalized(config, benchmark_data / "gsm8k", with_options=False)
    assert len(done) == 7319
    assert not [one.id for one in done if "<<" in one.response or "," in one.answer]
    assert all(one.response.replace(",", "").endswith(f"#### {one.answer}") for one in done)
