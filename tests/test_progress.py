"""What a person is told while a run works."""

from io import StringIO

import pytest
from rich.console import Console

from semievol.progress import PlainReporter, RichReporter


def lines(reporter: PlainReporter, counts: list[int], total: int, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with reporter.stage("collaborate", total, "answers"):
        for count in counts:
            reporter.advance(count)
    return capsys.readouterr().err.splitlines()


def test_a_line_says_how_many_are_done_and_how_long_the_rest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = PlainReporter()
    reporter.every = 0.0
    printed = lines(reporter, [50], 100, capsys)
    assert printed[0].startswith("  collaborate: 50/100 answers, ")
    assert printed[0].endswith(" left")


def test_the_first_answers_of_many_say_nothing_about_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = PlainReporter()
    reporter.every = 0.0
    assert "left" not in lines(reporter, [1], 100, capsys)[0]


def test_lines_are_seconds_apart_but_the_last_one_always_comes(capsys: pytest.CaptureFixture[str]) -> None:
    printed = lines(PlainReporter(), [1] * 100, 100, capsys)
    assert len(printed) == 1
    assert printed[0].startswith("  collaborate: 100/100 answers")


def test_answers_of_an_earlier_process_do_not_count_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = PlainReporter()
    reporter.every = 0.0
    with reporter.stage("collaborate", 1000, "answers", done=999):
        reporter.advance()
    assert "1000/1000" in capsys.readouterr().err
    assert reporter._first == 999


def test_a_terminal_gets_a_bar_with_the_count_and_the_note() -> None:
    screen = StringIO()
    reporter = RichReporter(Console(file=screen, force_terminal=True, width=120))
    with reporter.stage("evolve (9 rows)", 4, "steps", done=1):
        reporter.advance(note="loss 0.125")
        reporter.advance(2)
    reporter.say("done")
    assert "evolve (9 rows)" in screen.getvalue()
    assert "4/4" in screen.getvalue()
    assert "loss 0.125" in screen.getvalue()
    assert screen.getvalue().endswith("done\n")
