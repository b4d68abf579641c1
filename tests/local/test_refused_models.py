"""Models that cannot be used are refused by their configs, before anything is loaded or made."""

import json
from pathlib import Path

import pytest

from families import FAMILIES, config_options, table
from semievol.config import Config, ModelConfig, build
from semievol.errors import ConfigError
from semievol.forecast.check import check
from semievol.local.families import checked_model, refusal
from semievol.pipeline import run

pytest.importorskip("transformers")

REFUSED = {
    "t5": "encoder with a decoder",
    "bart": "encoder with a decoder",
    "bert": "reads in both directions",
    "roberta": "reads in both directions",
    "xlnet": "in any order",
    "llava": "reads images too",
    "qwen3_vl": "reads images too",
    "vit": "no language model of this type",
}


def saved(folder: Path, model_type: str, **options: object) -> str:
    from transformers import CONFIG_MAPPING

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG_MAPPING[model_type]().to_dict(), **options}))
    return str(folder)


@pytest.mark.parametrize("model_type", REFUSED)
def test_a_model_that_cannot_be_used_is_refused_with_its_type_and_the_reason(model_type: str, tmp_path: Path) -> None:
    name = saved(tmp_path / "model", model_type)
    with pytest.raises(ConfigError) as caught:
        checked_model(ModelConfig(name=name))
    assert f"{model_type!r}" in str(caught.value)
    assert REFUSED[model_type] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_no_family_of_the_table_is_refused(family) -> None:
    from transformers import CONFIG_MAPPING

    assert refusal(CONFIG_MAPPING[family.model_type](**config_options(family))) is None


def test_a_decoder_that_sees_what_follows_is_refused() -> None:
    from transformers import CONFIG_MAPPING

    assert "see those after" in (refusal(CONFIG_MAPPING["gemma3_text"](use_bidirectional_attention=True)) or "")


def test_code_that_comes_with_a_model_counts_where_it_may_be_run() -> None:
    from transformers import PretrainedConfig

    described = PretrainedConfig(auto_map={"AutoModelForCausalLM": "theirs.Theirs"})
    described.model_type = "theirs"
    assert refusal(described, remote_code=True) is None
    assert refusal(described) is not None


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return build(
        {
            "model": {"name": saved(tmp_path / "model", "t5")},
            "data": {"labeled": "no/such/file.jsonl", "unlabeled": "no/such/file.jsonl"},
            "output": str(tmp_path / "run"),
        }
    )


def test_check_refuses_before_it_reads_a_row(config: Config) -> None:
    with pytest.raises(ConfigError, match="'t5'"):
        check(config, measure=False)


def test_a_run_refuses_before_it_reads_a_row(config: Config) -> None:
    with pytest.raises(ConfigError, match="'t5'"):
        run(config)
    assert not (Path(config.output) / "warmup").exists()


def test_a_model_that_a_service_answers_with_is_not_looked_at(config: Config) -> None:
    elsewhere = config.model_copy(
        update={
            "backend": config.backend.model_copy(update={"kind": "fake"}),
            "training": config.training.model_copy(update={"kind": "fake"}),
        }
    )
    with pytest.raises(Exception, match="no/such/file"):
        check(elsewhere, measure=False)


def test_the_table_of_the_docs_is_what_is_tested() -> None:
    assert table() in (Path(__file__).parents[2] / "docs/models.md").read_text("utf-8")
