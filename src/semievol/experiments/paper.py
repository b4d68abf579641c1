"""The paper's own numbers: accuracy in %, from arXiv 2410.14745v2."""

from collections.abc import Mapping

SOURCE = "Luo et al., arXiv 2410.14745v2"
LLAMA, GPT = "Llama-3.1-8B-Instruct", "gpt-4o-mini"
MMLU, MMLU_PRO, ARC, FPB, USMLE = "mmlu", "mmlu-pro", "arc", "fpb", "usmle"
TASKS = (MMLU, MMLU_PRO, ARC, FPB, USMLE, "pubmedqa", "convfinqa")

Accuracies = tuple[float | None, ...]

TABLE_1: Mapping[str, Mapping[str, Accuracies]] = {
    LLAMA: {
        "vanilla": (66.4, 47.1, 81.1, 81.7, 70.2, 73.5, 51.1),
        "SFT": (67.9, 49.8, 81.8, 96.2, 70.8, 75.0, 81.3),
        "RAG (BM25)": (66.6, 37.4, 80.8, 83.7, 69.3, 69.0, 63.4),
        "RAG (dense)": (66.5, 38.8, 81.3, 82.5, 69.1, 71.5, 64.6),
        "SemiEvol": (68.8, 50.3, 83.4, 96.2, 71.6, 76.0, 82.4),
    },
    GPT: {
        "vanilla": (77.4, 57.8, 91.5, 93.4, 73.8, 77.5, 63.9),
        "SFT": (77.8, 58.8, 90.3, 98.0, 75.0, 77.5, 88.8),
        "SemiEvol": (79.9, 60.8, 92.7, 98.9, 77.2, 79.5, 89.2),
    },
}
"""Base model -> method -> one number for each of `TASKS`."""

CHECKPOINTS: Mapping[str, Accuracies] = {
    "hermes-3-llama-3.1-8b": (63.6, 37.9, 74.9, 73.9, 54.5, 68.5, 54.9),
    "reflection-llama-3.1-8b": (65.5, 37.5, 82.2, 80.8, 67.4, 77.5, 40.8),
}
"""Models that are evaluated as they are, by the last part of their id in lower case. AdaptLLM and Instruction-Pretrain
are families with a model for each domain, and MemoryLLM is replaced by its recipe: none of them is the same model."""

ABLATION: Mapping[str, Accuracies] = {
    "without in-weight propagation": (67.8, 48.8, 82.4),
    "without in-context propagation": (68.0, 49.4, 83.0),
    "without collaborative learning": (67.0, 49.2, 82.4),
    "without adaptive selection": (67.9, 49.0, 82.1),
}
"""Table 2, Llama: the first three of `TASKS`."""


def reported(base: str, task: str, method: str) -> float | None:
    """What the paper reports for the same model, task and method, in %; `None` if it reports nothing."""
    name = task.replace("_", "-").lower()
    if name not in TASKS:
        return None
    model = next((known_model for known_model in (LLAMA, GPT) if base.lower().startswith(known_model.lower())), None)
    rows: Mapping[str, Accuracies] = TABLE_1.get(model, {}) if model else {}
    if model == LLAMA:
        rows = {**rows, **ABLATION}
    row = rows.get(method) or CHECKPOINTS.get(method.rpartition("/")[2].lower())
    column = TASKS.index(name)
    return row[column] if row and column < len(row) else None
