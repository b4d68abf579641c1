import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semievol.data import load, read_answers
from semievol.errors import ConfigError, DataError

HEADER = ["prompt", "answer"]


def numbered(count, start=0):
    return [[f"question {number}", f"a{number}"] for number in range(start, start + count)]


@pytest.fixture
def sources(write_csv):
    """Labeled, unlabeled and test files of distinct questions."""
    return {
        "labeled": write_csv("labeled.csv", HEADER, numbered(20)),
        "unlabeled": write_csv("unlabeled.csv", HEADER, numbered(60, 100)),
        "test": write_csv("test.csv", HEADER, numbered(20, 200)),
    }


def test_rows_get_ids_from_their_split_and_number_and_canonical_answers(make_config, sources):
    dataset = load(make_config(**sources))
    assert [each.id for each in dataset.labeled[:2]] == ["labeled-0", "labeled-1"]
    assert dataset.test[3].id == "test-3"
    assert (dataset.labeled[1].answer, dataset.labeled[1].response) == ("A1", "A1")
    assert dataset.unlabeled[5].prompt == "question 105"


def test_the_task_is_opened_with_the_labeled_rows_as_they_were_read(make_config, sources):
    assert load(make_config(**sources)).task.seen[1].answer == "a1"


def test_unlabeled_rows_are_the_same_when_their_answers_are_deleted(make_config, write_csv, sources):
    rows = numbered(60, 100)
    deleted = write_csv("deleted.csv", ["prompt"], [row[:1] for row in rows])
    wrong = write_csv("wrong.csv", HEADER, [[prompt, "F"] for prompt, _ in rows])
    empty = write_csv("empty.csv", HEADER, [[prompt, ""] for prompt, _ in rows])
    loaded = [
        list(load(make_config(**sources | {"unlabeled": path}, unlabeled_rows=30)).unlabeled)
        for path in (sources["unlabeled"], deleted, wrong, empty)
    ]
    assert loaded[0] == loaded[1] == loaded[2] == loaded[3]
    assert {(each.answer, each.response) for each in loaded[0]} == {(None, None)}


def test_the_answer_column_of_unlabeled_parquet_is_not_even_decoded(make_config, sources, tmp_path, monkeypatch):
    path = tmp_path / "unlabeled.parquet"
    pq.write_table(pa.table({"prompt": ["a", "b"], "answer": ["x", "y"]}), path)
    decoded = []
    original = pq.ParquetFile.iter_batches

    def watched(self, *args, columns, **options):
        decoded.append(columns)
        return original(self, *args, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert len(load(make_config(**sources | {"unlabeled": path})).unlabeled) == 2
    assert decoded == [["prompt"]]


def test_true_answers_are_read_for_the_same_rows_when_the_evaluation_asks(make_config, sources):
    config = make_config(**sources, unlabeled_rows=10, unlabeled_answers="answer")
    dataset = load(config)
    answers = read_answers(config, dataset.task)
    assert answers == {each.id: f"A{each.prompt.split()[1]}" for each in dataset.unlabeled}
    some = {dataset.unlabeled[0].id}
    assert read_answers(config, dataset.task, some).keys() == some


def test_true_answers_may_have_gaps_but_must_be_answers(make_config, write_csv, sources):
    gaps = make_config(
        **sources | {"unlabeled": write_csv("u.csv", ["prompt", "gold"], [["p", ""], ["q", "b"]])},
        unlabeled_answers="gold",
    )
    assert read_answers(gaps, load(gaps).task) == {"unlabeled-0": None, "unlabeled-1": "B"}
    write_csv("u.csv", ["prompt", "gold"], [["p", "F"]])
    with pytest.raises(DataError, match=r"u\.csv row 1"):
        read_answers(gaps, load(gaps).task)


def test_a_column_that_only_late_rows_have_is_there(make_config, write_jsonl, sources):
    rows = [{"prompt": f"p{number}"} for number in range(150)] + [{"prompt": "late", "gold": "b"}]
    config = make_config(**sources | {"unlabeled": write_jsonl("u.jsonl", rows)}, unlabeled_answers="gold")
    answers = read_answers(config, load(config).task)
    assert (answers["unlabeled-0"], answers["unlabeled-150"]) == (None, "B")
    misspelt = make_config(**sources | {"unlabeled": write_jsonl("u.jsonl", rows)}, unlabeled_answers="glod")
    with pytest.raises(DataError, match=r"the columns are 'prompt', 'gold'\. Did you mean 'gold'"):
        read_answers(misspelt, load(config).task)


def test_without_a_named_column_no_true_answer_is_read(make_config, sources):
    config = make_config(**sources)
    assert read_answers(config, load(config).task) == {}


def test_a_missing_column_of_true_answers_is_named(make_config, sources):
    config = make_config(**sources, unlabeled_answers="gold")
    with pytest.raises(DataError, match=r"no column 'gold' \(evaluate.unlabeled_answers\)"):
        read_answers(config, load(config).task)


def test_the_column_of_true_answers_cannot_be_read_before_the_evaluation(make_config, sources):
    with pytest.raises(ConfigError, match=r"evaluate\.unlabeled_answers: 'gold' is also in data.columns"):
        load(make_config(**sources, unlabeled_answers="gold", columns={"category": "gold"}))


def test_draws_from_one_source_do_not_overlap_and_keep_their_row_numbers(make_config, sources):
    one = sources["unlabeled"]
    dataset = load(make_config(labeled=one, unlabeled=str(one), test=one, labeled_rows=10, test_rows=5, seed=3))
    numbers = [each.id.split("-")[1] for split in (dataset.labeled, dataset.unlabeled, dataset.test) for each in split]
    assert sorted(numbers, key=int) == [str(number) for number in range(60)]
    assert [len(dataset.labeled), len(dataset.unlabeled), len(dataset.test)] == [10, 45, 5]
    assert all(each.prompt == f"question {100 + int(each.id.split('-')[1])}" for each in dataset.unlabeled)


def test_labeled_rows_do_not_depend_on_how_many_unlabeled_rows_are_taken(make_config, sources):
    one = sources["unlabeled"]
    few, many, other = (
        load(make_config(labeled=one, unlabeled=one, labeled_rows=10, unlabeled_rows=count, seed=seed))
        for count, seed in ((5, 0), (40, 0), (5, 1))
    )
    assert few.labeled == many.labeled != other.labeled
    assert set(few.unlabeled) < set(many.unlabeled)


def test_a_shared_source_needs_to_know_how_many_rows_are_labeled(make_config, sources):
    one = sources["labeled"]
    with pytest.raises(DataError, match=r"labeled.csv: every row has an answer; set data.labeled_rows"):
        load(make_config(labeled=one, unlabeled=one))


def test_ids_come_from_the_id_column_and_two_equal_ones_name_both_rows(make_config, write_csv):
    columns = {"id": "key"}
    header = ["key", *HEADER]
    labeled = write_csv("labeled.csv", header, [["7", "p", "a"], ["8", "q", "b"]])
    assert [each.id for each in load(make_config(labeled=labeled, columns=columns)).labeled] == ["7", "8"]
    test = write_csv("test.csv", header, [["9", "r", "a"], ["8", "s", "b"]])
    with pytest.raises(
        DataError, match=r"labeled.csv row 2 \(line 3\) and .*test.csv row 2 \(line 3\) have one id, '8'"
    ):
        load(make_config(labeled=labeled, test=test, columns=columns))
    empty = write_csv("empty.csv", header, [["", "r", "a"]])
    with pytest.raises(DataError, match="the id in 'key' is empty"):
        load(make_config(labeled=empty, columns=columns))


def test_an_answer_that_is_no_option_names_its_row(make_config, write_csv):
    rows = numbered(20)
    rows[16][1] = "F"
    with pytest.raises(DataError, match=r"labeled.csv row 17 \(line 18\): answer 'F' is not one of the 4 options"):
        load(make_config(labeled=write_csv("labeled.csv", HEADER, rows)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["", "a"], "the prompt is empty"),
        ([" \n", "a"], "the prompt is empty"),
        (["p", " "], "the answer is empty"),
    ],
)
@pytest.mark.parametrize("split", ["labeled", "test"])
def test_an_empty_prompt_or_answer_names_its_row(make_config, write_csv, sources, split, row, message):
    path = write_csv(f"{split}.csv", HEADER, [*numbered(1, 500), row])
    with pytest.raises(DataError, match=rf"{split}.csv row 2 .*{message}"):
        load(make_config(**sources | {split: path}))


@pytest.mark.parametrize(("cell", "message"), [("yes", "a list is expected"), ("['only']", "1 option")])
def test_unlabeled_options_are_checked_too(make_config, write_csv, cell, message):
    labeled = write_csv("labeled.csv", [*HEADER, "options"], [["p", "a", "['a', 'b']"]])
    unlabeled = write_csv("unlabeled.csv", ["prompt", "options"], [["q", cell]])
    with pytest.raises(DataError, match=rf"unlabeled.csv row 1 \(line 2\): .*{message}"):
        load(make_config(labeled=labeled, unlabeled=unlabeled, columns={"options": "options"}))


def test_options_and_categories_are_read(make_config, write_csv):
    header = [*HEADER, "choices", "topic"]
    labeled = write_csv("labeled.csv", header, [["p", "a", '["x", "y"]', "law"], ["q", "a", '["x"]', ""]])
    first, second = load(make_config(labeled=labeled, columns={"options": "choices", "category": "topic"})).labeled
    assert (first.options, first.category, second.category) == (("x", "y"), "law", None)


def test_a_missing_column_is_named_with_those_that_are_there(make_config, write_csv):
    labeled = write_csv("labeled.csv", ["questions", "answer"], [["p", "a"]])
    message = (
        r"labeled.csv: no column 'question' \(data.columns.prompt\); the columns are 'questions', 'answer'. Did you"
    )
    with pytest.raises(DataError, match=message):
        load(make_config(labeled=labeled, columns={"prompt": "question"}))


def test_a_missing_answer_column_matters_in_labeled_and_test_rows_alone(make_config, write_csv, sources):
    bare = write_csv("bare.csv", ["prompt"], [["p"]])
    load(make_config(**sources | {"unlabeled": bare}))
    for split in ("labeled", "test"):
        with pytest.raises(DataError, match=r"no column 'answer' \(data.columns.answer\)"):
            load(make_config(**sources | {split: bare}))


@pytest.mark.parametrize("split", ["labeled", "unlabeled", "test"])
def test_a_source_with_a_header_alone_is_refused(make_config, write_csv, sources, split):
    path = write_csv("bare.csv", HEADER, [])
    with pytest.raises(DataError, match=rf"bare.csv: has no rows for data.{split}"):
        load(make_config(**sources | {split: path}))


def test_the_first_words_of_a_prompt_are_kept_as_they_were(make_config, write_csv):
    labeled = write_csv("labeled.csv", HEADER, [["one  two\nthree four", "a"], [" short ", "b"]])
    dataset = load(make_config(labeled=labeled, max_prompt_words=3))
    assert [each.prompt for each in dataset.labeled] == ["one  two\nthree", " short "]


def test_a_leak_is_refused_by_load_unless_it_is_allowed(make_config, write_csv, sources):
    test = write_csv("test.csv", HEADER, [["Question  3", "a"]])
    with pytest.raises(DataError, match=r"(?s)labeled-3 = test-0.*data.allow_leaks"):
        load(make_config(**sources | {"test": test}))
    assert len(load(make_config(**sources | {"test": test}, allow_leaks=True)).test) == 1
