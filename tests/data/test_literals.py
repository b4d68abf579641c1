"""Values out of texts that JSON, Python or NumPy wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.clock import is_linear

from semievol.data.literals import literal

VALUE = [
    {"said": "it's } {'a'} array(1), dtype=object) nan\n\\", "parts": ["a", 'b "c"'], "none": None, "number": 2.5}
] * 2


@pytest.mark.parametrize("written", [json.dumps(VALUE), str(VALUE), str(np.array(VALUE, dtype=object)), repr(VALUE)])
def test_what_was_written_is_read(written):
    assert literal(written) == VALUE


def test_arrays_of_numpy_are_lists_and_nan_is_nothing():
    value = {"text": np.array(["a", "b)"], dtype=object), "at": np.array([1, 2]), "lost": float("nan")}
    assert literal(str(value)) == {"text": ["a", "b)"], "at": [1, 2], "lost": None}


@pytest.mark.parametrize("cell", ["['a' 'b']", "['a'\n 'b']", "hello", "", "[a]", "[1, ... 2]", "'a", "[" * 100_000])
def test_what_is_no_value_is_refused(cell):
    with pytest.raises(ValueError, match="neither JSON nor"):
        literal(cell)


def test_nothing_in_a_text_is_run(tmp_path: Path):
    with pytest.raises(ValueError, match="neither JSON nor"):
        literal(f"[open({str(tmp_path / 'made')!r}, 'w')]")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("part", ["'\\", '"\\', "} ", "array(", "{'a': ", ", dtype=", "' ", "-"])
def test_long_texts_are_refused_at_once(part):
    def refused(size: int) -> None:
        with pytest.raises(ValueError, match="neither JSON nor"):
            literal("[{" + part * size)

    assert is_linear(refused, 50_000)
