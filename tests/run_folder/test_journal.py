"""The answers of a shard under way, as they are kept."""

from pathlib import Path

import pytest

from semievol.records import Response
from semievol.run_folder.journal import Journal


def response(id_: str) -> Response:
    return Response(id_, f"the answer to {id_}", (-0.5, -0.25), "stop", 7, 2)


@pytest.mark.parametrize("kept", [1, 20, 60, -1])
def test_a_torn_last_line_is_cut_off_before_the_next_one_is_written(tmp_path: Path, kept: int) -> None:
    journal = Journal(tmp_path / "part-00000.jsonl")
    with journal.writer() as write:
        for id_ in ("a", "b"):
            write(response(id_))
    first, second = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(first + second[:kept])
    assert journal.read() == {"a": response("a")}
    with journal.writer() as write:
        write(response("b"))
        write(response("c"))
    assert journal.read() == {id_: response(id_) for id_ in ("a", "b", "c")}
    assert journal.lines == 3
