"""What the models are shown and told at the test."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from samples import topics_config
from semievol.errors import RunFolderError
from semievol.pipeline import run
from semievol.records import Request
from watched import WATCHED


def prompts(asked: Sequence[Request], model: str) -> list[str]:
    """What a model, or the end of a request's id, was asked."""
    return [request.messages[-1]["content"] for request in asked if request.id.endswith(f"/{model}")]


def test_models_are_shown_as_many_labeled_examples_as_asked_for(tmp_path: Path, asked: list[Request]) -> None:
    run(topics_config(tmp_path, backend=WATCHED, evaluate={"examples": 2, "models": ["base", "warm"]}))
    for model in ("base", "warm"):
        assert {prompt.count("\nAnswer: ") for prompt in prompts(asked, model)} == {2}


def test_after_rounds_the_examples_are_still_the_labeled_rows(tmp_path: Path, asked: list[Request]) -> None:
    run(topics_config(tmp_path, backend=WATCHED, rounds=2, evaluate={"examples": 3, "models": ["evolved"]}))
    labeled = (tmp_path / "labeled.csv").read_text(encoding="utf-8")
    shown = [
        block.splitlines()[0].removeprefix("Text: ")
        for prompt in prompts(asked, "evolved")
        for block in prompt.split("\n\n")
        if "\nAnswer: " in block
    ]
    assert len(shown) == 90
    assert all(text in labeled for text in shown)


def test_models_are_told_at_the_test_what_they_were_not_told_in_training(tmp_path: Path, asked: list[Request]) -> None:
    run(topics_config(tmp_path, backend=WATCHED, evaluate={"instruction": "Which topic?", "models": ["warm"]}))
    assert all(prompt.startswith("Which topic?\n\nText: ") for prompt in prompts(asked, "warm"))
    assert all(prompt.startswith("Classify the text.") for prompt in prompts(asked, "score"))


def test_answers_to_other_prompts_are_not_taken_for_these(tmp_path: Path) -> None:
    run(topics_config(tmp_path, evaluate={"examples": 2}))
    with pytest.raises(RunFolderError, match="examples: was 2"):
        run(topics_config(tmp_path))
