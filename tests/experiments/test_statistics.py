"""What cells say together, and the paper's numbers beside them."""

import json

import numpy as np
import pytest

from semievol.experiments.grid import Result
from semievol.experiments.outcomes import Outcomes
from semievol.experiments.paper import TASKS, reported
from semievol.experiments.statistics import comparisons, summaries
from semievol.experiments.tables import accuracy_text
from semievol.metrics import accuracy

LLAMA = "Llama-3.1-8B-Instruct"


@pytest.fixture
def measured():
    """A cell whose test rows were answered as given."""

    def make(method: str, right: list[bool], seed: int = 0, task: str = "mail", first: int = 0) -> Result:
        rows = range(first, first + len(right))
        of_rows = Outcomes(
            ids=tuple(f"test-{row}" for row in rows),
            truth=tuple("no" if row % 4 else "yes" for row in rows),
            right=tuple(right),
            mean_nll=(None,) * len(right),
        )
        return Result(task, LLAMA, method, seed, "warm", accuracy(right), "", method, {}, {}, outcomes=of_rows)

    return make


def some(right: int, total: int = 40) -> list[bool]:
    return [number < right for number in range(total)]


def test_one_seed_has_an_interval_and_several_a_deviation(measured) -> None:
    (alone,) = summaries([measured("SFT", some(20))])
    assert (alone.accuracy, alone.deviation) == (0.5, None)
    assert alone.low is not None
    (several,) = summaries([measured("SFT", some(right), seed) for seed, right in enumerate((20, 22, 30))])
    assert several.accuracy == pytest.approx(0.6)
    assert several.deviation == pytest.approx(np.std([0.5, 0.55, 0.75], ddof=1))
    assert (several.low, several.seeds) == (None, (0, 1, 2))


def test_chance_is_what_the_most_frequent_answer_reaches(measured) -> None:
    (guessing,) = summaries([measured("SFT", some(31))])
    assert guessing.most_frequent == 0.75
    assert not guessing.is_above_chance
    (one,) = summaries([measured("SFT", some(35))])
    (three,) = summaries([measured("SFT", some(35), seed) for seed in range(3)])
    assert not one.is_above_chance  # 87.5 %, from 73.9 on
    assert three.is_above_chance


def test_a_comparison_pairs_rows_by_their_ids(measured) -> None:
    results = [measured("SFT", some(20)), measured("SemiEvol", [False] * 4 + some(26, 36))]
    (pair,) = comparisons(results, "SFT")
    assert (pair.method, pair.reference) == ("SemiEvol", "SFT")
    assert (pair.ahead, pair.behind) == (10, 4)
    assert pair.difference == pytest.approx(6 / 40)
    assert pair.low < pair.difference < pair.high


def test_only_seeds_that_both_have_are_compared(measured) -> None:
    results = [
        *(measured("SFT", some(20), seed) for seed in (0, 1)),
        *(measured("SemiEvol", some(30), seed) for seed in (1, 2)),
    ]
    (pair,) = comparisons(results, "SFT")
    assert pair.seeds == (1,)


def test_seeds_with_other_test_rows_are_compared_each_on_its_own(measured) -> None:
    results = [
        measured(method, some(right), seed, first=40 * seed)
        for seed in (0, 1)
        for method, right in (("SFT", 20), ("SemiEvol", 30))
    ]
    (pair,) = comparisons(results, "SFT")
    assert pair.by_seed == (0.25, 0.25)
    assert (pair.ahead, pair.behind) == (20, 0)


def test_p_values_are_corrected_for_their_number(measured) -> None:
    results = [measured("SFT", some(20)), *(measured(f"method {n}", some(29)) for n in range(3))]
    pairs = comparisons(results, "SFT")
    assert [pair.p_corrected for pair in pairs] == pytest.approx([3 * pair.p for pair in pairs])


def test_the_same_rows_with_more_seeds_are_not_taken_for_more_rows(measured) -> None:
    def p(seeds: int) -> float:
        results = [
            measured(method, some(right), seed)
            for seed in range(seeds)
            for method, right in (("SFT", 20), ("SemiEvol", 24))
        ]
        return comparisons(results, "SFT")[0].p

    assert p(1) == p(5) == 0.125


def test_a_failed_cell_is_left_out(measured) -> None:
    failed = Result("mail", LLAMA, "SemiEvol", 0, "warm", None, "", "", {}, {}, error="lost")
    assert [s.method for s in summaries([measured("SFT", some(20)), failed])] == ["SFT"]
    assert comparisons([measured("SFT", some(20)), failed], "SFT") == []


def test_the_papers_number_stands_beside_ours_where_the_model_is_the_same(measured) -> None:
    (summary,) = summaries([measured("SemiEvol", some(30), task="fpb")])
    assert accuracy_text(summary).endswith("[paper 96.2]")
    assert reported(LLAMA, "mmlu", "vanilla") == 66.4
    assert reported("gpt-4o-mini-2024-07-18", "convfinqa", "SemiEvol") == 89.2
    assert reported(LLAMA, "mmlu_pro", "without adaptive selection") == 49.0
    assert reported(LLAMA, "arc", "NousResearch/Hermes-3-Llama-3.1-8B") == 74.9


def test_another_model_task_or_method_has_no_number_of_the_paper() -> None:
    assert reported("SmolLM2-135M-Instruct", "fpb", "SFT") is None
    assert reported(LLAMA, "mail", "SFT") is None
    assert reported("gpt-4o-mini", "arc", "without adaptive selection") is None
    assert reported(LLAMA, "fpb", "without adaptive selection") is None
    assert reported(LLAMA, "arc", "AdaptLLM/finance-chat") is None


def test_the_papers_tables_are_whole() -> None:
    from semievol.experiments import paper

    rows = [row for methods in paper.TABLE_1.values() for row in methods.values()]
    assert all(len(row) == len(TASKS) for row in (*rows, *paper.CHECKPOINTS.values()))
    assert json.dumps(paper.SOURCE)
