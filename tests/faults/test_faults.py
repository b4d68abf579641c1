"""Some of the faults of `make test-faults`: none may end in a traceback, in silence, or in work done twice."""

from pathlib import Path

import pytest

from faults import damage, inputs, operations, services, trainings
from faults.tally import Tally

CASES = 250
"""Of each reader and parser; `make test-faults` tries many times as many."""


def require_none(tally: Tally, verdicts: tuple[str, ...], at_least: int) -> None:
    assert tally.of(*verdicts) == 0, tally.why(*verdicts)
    assert tally.tried >= at_least


def test_a_run_killed_at_any_operation_on_files_goes_on_and_leaves_nothing(tmp_path: Path) -> None:
    require_none(operations.try_kills(tmp_path, step=37, first=5), operations.WRONG, at_least=10)


def test_a_run_whose_disk_is_full_at_any_operation_goes_on_and_leaves_nothing(tmp_path: Path) -> None:
    require_none(operations.try_refusals(tmp_path, step=37, first=23), operations.WRONG, at_least=10)


def test_a_training_killed_or_refused_at_any_operation_on_files_comes_to_the_same_weights(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    require_none(trainings.try_trainings(tmp_path, step=12, first=5), trainings.WRONG, at_least=4)


def test_a_damaged_file_is_named_or_mended_and_never_passed_over(tmp_path: Path) -> None:
    tally = damage.try_damages(tmp_path, most=20)
    require_none(tally, damage.WRONG, at_least=40)
    assert tally.counts["named"] > 8
    assert tally.counts["mended"] > 8


def test_rubbish_of_a_service_is_a_failed_request(tmp_path: Path) -> None:
    tally = services.try_bodies(tmp_path, cases=4_000)
    require_none(tally, services.WRONG, at_least=4_000)
    assert tally.counts["read"] > 1_000
    assert tally.counts["failed request"] > 1_000


def test_a_run_with_a_service_that_sends_rubbish_comes_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody-1234")
    require_none(services.try_runs(tmp_path, runs=4), services.WRONG, at_least=4)


@pytest.mark.parametrize("suffix", inputs.FORMATS)
def test_a_file_that_nobody_would_write_is_read_or_refused(suffix: str, tmp_path: Path) -> None:
    tally = inputs.try_reader(suffix, tmp_path, CASES)
    require_none(tally, inputs.WRONG, at_least=CASES)
    assert tally.counts["read"] > CASES / 100


@pytest.mark.parametrize("name", inputs.TASKS)
def test_an_answer_that_nobody_would_give_is_read(name: str) -> None:
    require_none(inputs.try_parser(name, CASES), inputs.WRONG, at_least=CASES)


def test_a_config_that_nobody_would_write_is_read_or_refused(tmp_path: Path) -> None:
    tally = inputs.try_configs(tmp_path, CASES)
    require_none(tally, inputs.WRONG, at_least=CASES)
    assert tally.counts["read"] > CASES / 100
