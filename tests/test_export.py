"""An evolved model that leaves its run: it answers alike elsewhere, and takes no row of the data with it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from samples import topics_config
from semievol import cli
from semievol.config import Config, changed, load
from semievol.errors import ConfigError, ExportError, RunFolderError
from semievol.pipeline import run
from semievol.predict.exporting import Form, export
from semievol.progress import Reporter
from semievol.records import Example
from semievol.report import finish
from semievol.tasks.label import Label

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from huggingface_hub import ModelCard  # noqa: E402
from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from tiny import save_tiny_model  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of a tiny model whose adapter changes its answers."""
    folder = tmp_path_factory.mktemp("trained")
    config = topics_config(
        folder,
        model={"name": save_tiny_model(folder / "tiny"), "dtype": "float32", "device": "cpu"},
        backend={"kind": "transformers"},
        training={"kind": "local", "num_train_epochs": 12, "learning_rate": 5e-3, "per_device_train_batch_size": 4},
        collaborate={"collaborators": [{"weights": "warm", "examples": 0}], "max_tokens": 4},
    )
    run(config)
    finish(load(config.output) and Path(config.output))
    return config


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = topics_config(tmp_path_factory.mktemp("fake"))
    run(config)
    return config


def answers(folder: str | Path, source: Path, target: Path) -> list[dict[str, Any]]:
    assert cli.main(["predict", str(folder), "--input", str(source), "--output", str(target)]) == 0
    return [json.loads(line) for line in target.read_text().splitlines()]


def without_data(config: Config, tmp_path: Path, form: Form) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the run and its export say of the test rows, the export after run, data and base are out of reach."""
    test = tmp_path / "test.csv"
    shutil.copy(str(config.data.test), test)
    expected = answers(config.output, test, tmp_path / "run.jsonl")
    export(config, tmp_path / "model", form, Reporter())
    moved = tmp_path / "elsewhere"
    (tmp_path / "model").rename(moved)
    return expected, answers(moved, test, tmp_path / "export.jsonl")


@pytest.mark.parametrize("form", [Form(), Form(merged=True), Form(merged=True, dtype="float32")])
def test_an_export_answers_as_the_run_does(trained: Config, tmp_path: Path, form: Form) -> None:
    expected, found = without_data(trained, tmp_path, form)
    assert [row["answer"] for row in found] == [row["answer"] for row in expected]
    assert [row["text"] for row in found] == [row["text"] for row in expected]
    assert [row["mean_nll"] for row in found] == pytest.approx([row["mean_nll"] for row in expected], abs=1e-4)


def test_a_model_of_the_fake_engine_leaves_too(fake: Config, tmp_path: Path) -> None:
    expected, found = without_data(fake, tmp_path, Form())
    assert found == expected


@pytest.mark.parametrize("form", [Form(), Form(merged=True)])
def test_no_row_and_no_place_of_the_data_is_in_it(trained: Config, tmp_path: Path, form: Form) -> None:
    export(trained, tmp_path / "model", form, Reporter())
    texts = [path.read_text() for path in (tmp_path / "model").iterdir() if path.suffix != ".safetensors"]
    labeled = Path(str(trained.data.labeled)).read_text().splitlines()[1]
    for text in texts:
        assert labeled.split(",")[0] not in text
        assert str(trained.data.labeled) not in text
    assert str(Path(trained.output)) not in "".join(texts)
    assert not list(tmp_path.glob(".model*"))


@pytest.mark.parametrize("form", [Form(), Form(merged=True)])
def test_others_may_read_it_as_the_umask_says(trained: Config, tmp_path: Path, form: Form) -> None:
    before = os.umask(0o022)
    try:
        export(trained, tmp_path / "model", form, Reporter())
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o644}


def test_weights_are_merged_into_the_type_of_the_run(trained: Config, tmp_path: Path) -> None:
    held = changed(trained, {"model": {"dtype": "bfloat16"}})
    export(held, tmp_path / "model", Form(merged=True, compares=False), Reporter())
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto").dtype == torch.bfloat16
    assert load(tmp_path / "model").model.dtype == "bfloat16"


def test_what_was_merged_is_a_model_of_transformers(trained: Config, tmp_path: Path) -> None:
    export(trained, tmp_path / "model", Form(merged=True), Reporter())
    export(trained, tmp_path / "adapter", Form(), Reporter())
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    base = AutoModelForCausalLM.from_pretrained(trained.model.name)
    beside = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tmp_path / "adapter").chat_template
    ids = torch.arange(5, 25)[None]
    assert torch.allclose(whole(ids).logits, beside(ids).logits, atol=1e-4)
    with beside.disable_adapter():
        assert not torch.allclose(whole(ids).logits, beside(ids).logits, atol=1e-2)


def test_an_export_that_answers_otherwise_is_not_left(
    trained: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved_without_the_adapter(config: Any, adapter: Path, folder: Path, dtype: str) -> None:
        AutoModelForCausalLM.from_pretrained(config.name, dtype=torch.float32).save_pretrained(folder)

    monkeypatch.setattr("semievol.local.merging.save_merged", saved_without_the_adapter)
    with pytest.raises(ExportError, match=r"of 10 rows are answered otherwise than in the run; --dtype float32"):
        export(trained, tmp_path / "model", Form(merged=True, dtype="bfloat16"), Reporter())
    assert not (tmp_path / "model").exists()
    export(trained, tmp_path / "model", Form(merged=True, compares=False), Reporter())
    assert (tmp_path / "model/model.safetensors").exists()


def test_the_command_says_what_it_compared(trained: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "model"
    assert cli.main(["export", trained.output, "--output", str(output), "--merged"]) == 0
    said = capsys.readouterr().out
    assert "10 rows are answered as in the run, their mean NLL at most 0.00" in said
    assert f"{output}: the evolved model, merged" in said
    assert cli.main(["export", trained.output, "--output", str(output)]) == 0  # an earlier export is replaced
    assert not (output / "model.safetensors").exists()


def test_a_folder_of_somebody_elses_is_left_alone(fake: Config, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/thesis.tex").write_text("three years")
    with pytest.raises(ConfigError, match="is no exported model"):
        export(fake, tmp_path / "model", Form(), Reporter())
    assert (tmp_path / "model/thesis.tex").read_text() == "three years"


@pytest.mark.parametrize("model", ["warm", "base"])
def test_an_export_has_no_other_models(trained: Config, tmp_path: Path, model: str) -> None:
    export(trained, tmp_path / "model", Form(merged=True), Reporter())
    assert cli.main(["predict", str(tmp_path / "model"), "--model", model, "--input", str(trained.data.test)]) == 1


def test_a_run_without_an_evolved_model_has_nothing_to_export(tmp_path: Path) -> None:
    config = topics_config(tmp_path)
    run(config, until="select")
    with pytest.raises(RunFolderError, match="no evolved model yet"):
        export(config, tmp_path / "model", Form(), Reporter())


def test_a_base_in_4_bits_is_not_merged(trained: Config, tmp_path: Path) -> None:
    quantized = changed(trained, {"model": {"quantization": "nf4"}})
    with pytest.raises(ExportError, match="export it as an adapter"):
        export(quantized, tmp_path / "model", Form(merged=True), Reporter())


def test_damaged_weights_do_not_leave(trained: Config, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(trained.output, copy)
    with (copy / "evolve/adapter/adapter_model.safetensors").open("r+b") as file:
        file.seek(400)
        file.write(b"\xff")
    with pytest.raises(RunFolderError, match="is not what its stage has left"):
        export(load(copy), tmp_path / "model", Form(), Reporter())


class ByRows(Label):
    """A task of the user's that is made from its rows."""

    def __init__(self, config: Any, labeled: Any) -> None:
        super().__init__(config, labeled)
        self._first = labeled[0].prompt if labeled else "nothing"

    def question(self, example: Example) -> str:
        return f"Not like {self._first}: {example.prompt}"


def test_a_task_that_is_made_from_its_rows_keeps_them_and_says_so(tmp_path: Path) -> None:
    config = topics_config(tmp_path, task={"kind": f"{__name__}:ByRows"})
    run(config)
    lines = export(config, tmp_path / "model", Form(), Reporter())
    assert "task.json holds the labeled rows: this task is made from them" in lines
    assert len(json.loads((tmp_path / "model/task.json").read_text())["labeled"]) == 12


def test_the_card_has_figures_that_the_hub_reads(trained: Config, tmp_path: Path) -> None:
    export(trained, tmp_path / "model", Form(merged=True), Reporter())
    card = ModelCard.load(tmp_path / "model/README.md")
    accuracy = json.loads((Path(trained.output) / "evaluate/metrics.json").read_text())["models"]["evolved"]["accuracy"]
    assert card.data.model_name == "run"
    assert [result.metric_type for result in card.data.eval_results] == ["accuracy", "f1"]
    assert card.data.eval_results[0].metric_value == pytest.approx(accuracy, abs=1e-4)
    assert card.data.library_name == "transformers"
    for block in card.text.split("```python\n")[1:]:
        compile(block.split("```")[0], "card", "exec")
