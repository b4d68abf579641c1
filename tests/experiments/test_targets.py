"""Tasks, base models and seeds of an experiment."""

from pathlib import Path

import pytest

from semievol.errors import ConfigError
from semievol.experiments.options import Options
from semievol.experiments.targets import short_name, targets

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_task_is_a_file_of_the_configs_folder_and_runs_on_a_laptop_unless_told_otherwise() -> None:
    (target,) = targets(Options(tasks=("fpb",), config_folder=CONFIGS))
    assert (target.task, target.base) == ("fpb", "SmolLM2-135M-Instruct")
    assert target.source.endswith("fpb-smollm2.yaml")


def test_every_task_meets_every_base_model() -> None:
    found = targets(Options(tasks=("mmlu", "arc"), bases=("llama31", "smollm2"), config_folder=CONFIGS))
    assert [(target.task, target.base) for target in found] == [
        (task, base) for task in ("mmlu", "arc") for base in ("Llama-3.1-8B-Instruct", "SmolLM2-135M-Instruct")
    ]


def test_a_model_id_takes_the_papers_recipe() -> None:
    (target,) = targets(Options(tasks=("arc",), bases=("Qwen/Qwen3-8B",), config_folder=CONFIGS))
    assert target.config.model.name == "Qwen/Qwen3-8B"
    assert target.config.training.num_train_epochs == 2


def test_a_config_of_the_papers_task_is_known_by_the_tasks_name() -> None:
    (target,) = targets(Options(configs=(str(CONFIGS / "mmlu-pro-llama31.yaml"),)))
    assert target.task == "mmlu-pro"


def test_an_unknown_task_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="tasks there: arc, convfinqa, fpb"):
        targets(Options(tasks=("squad",), config_folder=CONFIGS))


def test_one_target_does_not_stand_twice() -> None:
    path = str(CONFIGS / "fpb-smollm2.yaml")
    with pytest.raises(ConfigError, match="named twice"):
        targets(Options(configs=(path,), tasks=("fpb",), config_folder=CONFIGS))


def test_the_figures_of_the_fake_engine_do_not_bear_a_models_name(config_file: Path) -> None:
    (target,) = targets(Options(configs=(str(config_file),)))
    assert target.base == "fake model"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B-Instruct"),
        ("pypi://llm==0.1/llm/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
        ("/models/mine/", "mine"),
        ("gpt-4o-mini", "gpt-4o-mini"),
    ],
)
def test_a_model_is_shown_by_the_last_part_of_its_name(model: str, name: str) -> None:
    assert short_name(model) == name
