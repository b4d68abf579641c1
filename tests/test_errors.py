"""Errors of libraries, in one line."""

import pytest

from semievol.errors import first_line


@pytest.mark.parametrize(
    ("message", "said"),
    [("no such model\nTraceback ...", "no such model"), ("\n  no such model\n", "no such model"), ("", "OSError")],
)
def test_an_error_says_its_first_line_or_at_least_what_it_is(message: str, said: str) -> None:
    assert first_line(OSError(message)) == said
