"""Finding and loading base models."""

import subprocess
import sys
from pathlib import Path

import pytest

from semievol.config import ModelConfig
from semievol.errors import ConfigError
from semievol.models.loading import load_model, load_tokenizer, model_limit, resolve_model
from semievol.models.types import resolve_device, resolve_dtype
from semievol.records import Message
from tiny import end_of_turn, prompt_ids, save_tiny_model, tiny_tokenizer

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, semievol.models.loading; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_stands_for_itself(folder: str) -> None:
    assert resolve_model(ModelConfig(name=folder)) == folder


def test_a_hub_id_stands_for_itself() -> None:
    assert resolve_model(ModelConfig(name="owner/name")) == "owner/name"


def test_environment_variables_in_a_path_are_expanded(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", str(Path(folder).parent))
    assert resolve_model(ModelConfig(name=f"$MODELS/{Path(folder).name}")) == folder


@pytest.mark.parametrize("name", ["/no/such/model", "./no-such-model", "no-such-model.gguf"])
def test_a_path_without_a_model_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="neither a model folder nor a GGUF file"):
        resolve_model(ModelConfig(name=name))


def test_a_folder_without_a_config_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        resolve_model(ModelConfig(name=str(tmp_path)))


def test_a_folder_without_weights_is_an_error_in_words(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ConfigError, match=r"(?s)could not be loaded: .*Check the name"):
        load_model(ModelConfig(name=str(tmp_path), device="cpu", dtype="float32"))


def test_a_hub_that_cannot_be_reached_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="nobody/nothing could not be loaded"):
        load_tokenizer(ModelConfig(name="nobody/nothing"))


def test_the_type_is_measured_on_a_cpu_unless_it_is_set() -> None:
    assert resolve_dtype(ModelConfig(device="cpu")) in ("float32", "bfloat16")
    assert resolve_dtype(ModelConfig(device="cpu", dtype="float16")) == "float16"


def test_the_model_is_loaded_in_its_type_on_its_device(folder: str) -> None:
    model = load_model(ModelConfig(name=folder, dtype="bfloat16", device="cpu"))
    assert str(model.dtype) == "torch.bfloat16"
    assert model.device.type == resolve_device(ModelConfig(device="cpu")) == "cpu"
    assert not model.training


def test_the_limit_is_the_lower_of_the_models_and_the_users(folder: str) -> None:
    assert model_limit(ModelConfig(name=folder)) == 256
    assert model_limit(ModelConfig(name=folder, max_length=100)) == 100
    assert model_limit(ModelConfig(name=folder, max_length=1000)) == 256


def test_a_model_without_a_chat_template_gets_a_plain_one(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(ModelConfig(name=save_tiny_model(tmp_path, chat_template=None)))
    chat = [
        Message(role="user", content="Rain?"),
        Message(role="assistant", content="Yes"),
        Message(role="user", content="Snow?"),
    ]
    assert (
        tokenizer.decode(prompt_ids(tokenizer, chat))
        == "User:\nRain?\n\nAssistant:\nYes\n\nUser:\nSnow?\n\nAssistant:\n"
    )
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id


@pytest.mark.model
def test_a_gguf_file_is_converted_once() -> None:
    config = ModelConfig(device="cpu", dtype="float32")
    converted = Path(resolve_model(config))
    assert (converted / "model.safetensors").exists()
    before = (converted / "model.safetensors").stat().st_mtime_ns
    assert resolve_model(config) == str(converted)
    assert (converted / "model.safetensors").stat().st_mtime_ns == before
    tokenizer = load_tokenizer(config)
    assert tokenizer.decode([end_of_turn(tokenizer)]) == "<|im_end|>"
    assert model_limit(config) == 8192
