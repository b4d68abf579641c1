"""What the models are shown and told at the test."""

from pathlib import Path

import pytest

from samples import topics_config
from semievol.backends.fake import FakeBackend
from semievol.errors import RunFolderError
from semievol.pipeline import run


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The prompts of each request, by the end of its id."""
    seen: dict[str, list[str]] = {}
    answer = FakeBackend._answer

    def recorded(self, asked):
        seen.setdefault(asked.id.rpartition("/")[2], []).append(asked.messages[-1]["content"])
        return answer(self, asked)

    monkeypatch.setattr(FakeBackend, "_answer", recorded)
    return seen


def test_models_are_shown_as_many_labeled_examples_as_asked_for(tmp_path: Path, prompts) -> None:
    run(topics_config(tmp_path, evaluate={"examples": 2, "models": ["base", "warm"]}))
    for model in ("base", "warm"):
        assert {prompt.count("\nAnswer: ") for prompt in prompts[model]} == {2}


def test_after_rounds_the_examples_are_still_the_labeled_rows(tmp_path: Path, prompts) -> None:
    run(topics_config(tmp_path, rounds=2, evaluate={"examples": 3, "models": ["evolved"]}))
    labeled = (tmp_path / "labeled.csv").read_text(encoding="utf-8")
    shown = [
        block.splitlines()[0].removeprefix("Text: ")
        for prompt in prompts["evolved"]
        for block in prompt.split("\n\n")
        if "\nAnswer: " in block
    ]
    assert len(shown) == 90
    assert all(text in labeled for text in shown)


def test_models_are_told_at_the_test_what_they_were_not_told_in_training(tmp_path: Path, prompts) -> None:
    run(topics_config(tmp_path, evaluate={"instruction": "Which topic?", "models": ["warm"]}))
    assert all(prompt.startswith("Which topic?\n\nText: ") for prompt in prompts["warm"])
    assert all(prompt.startswith("Classify the text.") for prompt in prompts["score"])


def test_answers_to_other_prompts_are_not_taken_for_these(tmp_path: Path) -> None:
    run(topics_config(tmp_path, evaluate={"examples": 2}))
    with pytest.raises(RunFolderError, match="examples: was 2"):
        run(topics_config(tmp_path))
