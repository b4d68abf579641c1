"""Configs that are made to fill the memory, or that are no files at all."""

import os
import time
from pathlib import Path

import pytest

from semievol.config import load
from semievol.errors import ConfigError

ANCHORS = "\n".join([f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(12)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ANCHORS + "\ndata: {labeled: *a11}", "with its anchors repeated, it has more than 1,000,000 values"),
        ("data: &a {labeled: *a}", "more than 1,000,000 values"),
        ("seed: " + "9" * 5000, "not valid YAML: Exceeds the limit"),
        ("seed: !!int abc", "not valid YAML: invalid literal for int"),
        ("seed: !!float abc", "not valid YAML"),
        ("seed: !!timestamp 2020-99-99", "not valid YAML"),
        ("seed: !!timestamp x", "not valid YAML"),
        ("a: " + "[" * 50_000, "nested too deeply"),
        ("seed: " + "1" * 40, "seed: Input should be less than 4294967296"),
        ("data: {labeled: " + "x" * 5000 + "}", "data"),
        ("#" * (17 * 2**20), "a config is a file of at most 16 MB"),
    ],
)
def test_what_is_no_config_of_anybodys_is_refused_at_once(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    started = time.monotonic()
    if words == "data":  # a name that no system takes is a file that is not there
        assert load(str(path)).data.labeled == "x" * 5000
        return
    with pytest.raises(ConfigError, match=words):
        load(str(path))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_device_or_a_pipe_is_no_config(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with pytest.raises(ConfigError, match="a config is a file of at most 16 MB"):
        load(str(path))
