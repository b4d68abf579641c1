"""Text of the user's data on the terminal."""

import logging

import pytest
from rich.table import Table

from semievol.progress import PlainReporter, RichReporter, log_to
from semievol.terminal import TextConsole, visible

HOSTILE = "[/red] \x1b[2J :warning: a\u202eb"
SEEN = "[/red] \\x1b[2J :warning: a\\u202eb"


def test_what_acts_on_a_terminal_is_written_out_and_all_else_is_left():
    assert visible(HOSTILE) == SEEN
    assert visible("\ud800\x9b\x7f\r") == r"\ud800\x9b\x7f\r"
    for text in (
        "two\nlines\tand a tab",
        "d\u00e9j\u00e0 vu",
        "\u4f60\u597d",
        "\U0001f469\u200d\U0001f680",
        r"\x1b as written",
    ):
        assert visible(text) == text


def test_a_label_steers_neither_lines_nor_tables(capsys: pytest.CaptureFixture[str]):
    console = TextConsole()
    console.print(HOSTILE)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    assert capsys.readouterr().out.count(SEEN) == 4


@pytest.mark.parametrize("make", [PlainReporter, lambda: RichReporter(TextConsole(stderr=True))])
def test_progress_shows_titles_and_lines_as_text(make, capsys: pytest.CaptureFixture[str]):
    reporter = make()
    with reporter.stage(HOSTILE, 1, "rows"):
        reporter.say(HOSTILE)
        reporter.advance(note=HOSTILE)
    shown = capsys.readouterr().err
    assert SEEN in shown
    assert "\x1b[2J" not in shown


def test_the_log_can_be_shown_on_a_terminal(tmp_path):
    root = logging.getLogger()
    before = list(root.handlers)
    log_to(tmp_path / "run.log")
    made = [handler for handler in root.handlers if handler not in before]
    try:
        logging.getLogger("semievol").info("label %s", HOSTILE)
    finally:
        for handler in made:
            root.removeHandler(handler)
            handler.close()
    assert SEEN in (tmp_path / "run.log").read_text(encoding="utf-8")
