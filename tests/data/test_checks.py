import pytest

from semievol.data import Dataset, digest, examine
from semievol.data.checks import refuse_leaks
from semievol.errors import DataError
from semievol.records import Example


class Closed:
    """A task whose answers are A, B and C."""

    def answers(self):
        return ("A", "B", "C")

    def notes(self, labeled):
        return ()


class Open:
    def answers(self):
        return None

    def notes(self, labeled):
        return (f"{len(labeled)} rows as they were read",)


def dataset(labeled=(), unlabeled=(), test=(), task=None):
    def examples(split, rows):
        return tuple(
            row if isinstance(row, Example) else Example(f"{split}-{at}", row, "A") for at, row in enumerate(rows)
        )

    splits = (examples("labeled", labeled), examples("unlabeled", unlabeled), examples("test", test))
    return Dataset(*splits, task or Open())


def test_rows_answers_and_lengths_are_counted():
    rows = [Example("1", "one two three", "B"), Example("2", "one", "B"), Example("3", "one two", "A")]
    report = examine(dataset(rows, test=["a b"], task=Closed()))
    assert report.rows == {"labeled": 3, "unlabeled": 0, "test": 1}
    assert list(report.answers.items()) == [("B", 2), ("A", 1), ("C", 0)]
    assert report.words == {"labeled": (1, 1.5, 2, 2.5, 2.9, 3), "test": (2,) * 6}
    assert report.imbalance == 2
    assert "no labeled row has the answer 'C'" in report.warnings


def test_a_strong_imbalance_of_a_closed_set_is_a_warning():
    rows = [Example(str(at), f"q{at}", "A" if at else "B") for at in range(21)]
    assert any("20 times" in line for line in examine(dataset(rows, task=Closed())).warnings)
    assert examine(dataset(rows, task=Open())).imbalance is None


def test_repeated_prompts_are_counted_whatever_their_case_and_whitespace():
    report = examine(dataset(["a b", "A  b\n", "c"]))
    assert report.duplicates["labeled"] == 1
    assert "1 labeled row repeats a prompt" in report.warnings


def test_rows_that_contradict_each_other_are_named():
    rows = [Example("1", "One?", "A"), Example("2", " one?", "B"), Example("3", "one?", "A"), Example("4", "two?", "B")]
    (warning,) = [line for line in examine(dataset(rows)).warnings if "different answer" in line]
    assert warning == "1 labeled row has the prompt of another and a different answer (1 and 2)"
    assert not [line for line in examine(dataset(rows[2:])).warnings if "different" in line]
    assert "1 test row has the prompt of another" in " ".join(examine(dataset(test=rows)).warnings)


def test_test_rows_of_one_answer_are_said_to_measure_nothing_else():
    report = examine(dataset(test=["one", "two"], task=Closed()))
    assert "all test rows have the answer 'A': a model that gives no other is right on all of them" in report.warnings
    two = examine(dataset(test=["one", Example("2", "two", "B")], task=Closed()))
    assert "no test row has the answer 'C', so nothing is measured of it" in two.warnings
    assert not [line for line in examine(dataset(test=["one"])).warnings if "test row" in line]


def test_prompts_in_two_splits_are_named():
    report = examine(dataset(["a", "b"], ["B", "c"], ["c", "d"]))
    assert [(each.splits, each.rows, each.pairs) for each in report.overlaps] == [
        (("labeled", "unlabeled"), 1, (("labeled-1", "unlabeled-0"),)),
        (("unlabeled", "test"), 1, (("unlabeled-1", "test-0"),)),
    ]
    assert "1 test rows have a prompt of unlabeled rows (unlabeled-1 = test-0)" in report.warnings


def test_other_options_or_another_context_make_another_question():
    def ask(identity, **parts):
        return Example(identity, "which?", "A", **parts)

    options = dataset([ask("1", options=("x", "y"))], test=[ask("2", options=("x", "z"))])
    context = dataset([ask("1")], test=[ask("2", context=({"role": "user", "content": "hm"},))])
    same = dataset([ask("1", options=("x", "y"))], test=[ask("2", options=("X", "y "))])
    assert [len(examine(each).overlaps) for each in (options, context, same)] == [0, 0, 1]


def test_a_test_prompt_in_the_training_rows_is_refused_with_rows_and_option():
    with pytest.raises(DataError, match=r"(?s)labeled-0 = test-0.*unlabeled-0 = test-1.*data.allow_leaks"):
        refuse_leaks(dataset(["a"], ["b"], ["a", "b"]))


def test_a_labeled_prompt_among_the_unlabeled_is_no_leak():
    refuse_leaks(dataset(["a"], ["a"], ["b"]))


def test_of_many_leaks_the_first_few_are_named():
    prompts = [f"q{at}" for at in range(10)]
    (overlap,) = examine(dataset(prompts, test=prompts)).overlaps
    assert overlap.rows == 10
    assert str(overlap).endswith("labeled-2 = test-2, ...)")


def test_a_digest_is_the_same_on_every_machine_and_tells_every_field_and_the_order():
    one, other = Example("1", "p", "A"), Example("2", "p", "A", context=({"role": "user", "content": "ü"},))
    assert digest([one, other]) == "622e9e7b945c70773fa74b6d47e037bb81b50efcad15e2e2e7cc45d8164bbbc0"
    assert len({digest(each) for each in ([], [one], [other], [one, other], [other, one])}) == 5
    changes = [
        Example("1", "p", "A", "r"),
        Example("1", "p", "A", options=("x",)),
        Example("1", "p", "A", category="c"),
    ]
    assert len({digest([each]) for each in (one, *changes)}) == 4


def test_what_the_task_says_of_its_answers_is_a_note():
    assert "0 rows as they were read" in examine(dataset(["a"])).warnings
