"""Whether the engine says on a card what plain transformers and PEFT say, within the rounding of bfloat16."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.gpu import training
from benchmarks.gpu.answering import BUDGETS, engine, plain_scores
from benchmarks.gpu.model import free, made, random_weights
from benchmarks.gpu.work import Size, documents, questions, short_rows
from benchmarks.speed import plain
from semievol.backends import open_backend
from semievol.config import ModelConfig
from semievol.models.loading import load_tokenizer
from semievol.records import Response


def measure(config: ModelConfig, size: Size) -> dict[str, Any]:
    """Differences of losses, of H, and of greedy answers."""
    scoring, asking = documents(size), questions(size)
    with random_weights():
        backend = open_backend(engine(config, BUDGETS[-1]), {})
        ours = list(backend.generate([*scoring, *asking]))
        held = _way(config)
    by_id = {each.id: each for each in ours}
    single = config.model_copy(update={"dtype": "float32"})
    tokenizer = load_tokenizer(config)
    model = made(config)
    same = plain_scores(model, config, scoring)
    batch = plain.generate(model, tokenizer, asking, size.new)
    alone = [plain.generate(model, tokenizer, [one], size.new)[0] for one in asking[:32]]
    exact = model.float()  # the same weights, without the rounding of what is computed with them
    reference = plain_scores(exact, single, scoring)
    del model, exact
    free()
    rows = short_rows(size)
    trained = training.measure(config, rows, size.together, ("ours", "peft"))
    losses = {way: trained[way]["losses"] for way in ("ours", "peft")}
    return {
        "way": held,
        "h_ours_to_float32": _nats([by_id[each.id] for each in scoring], reference),
        "h_plain_to_float32": _nats(same, reference),
        "greedy_answers_alike": _alike([by_id[each.id] for each in asking], batch),
        "greedy_answers_alike_plain_alone_and_in_a_batch": _alike(batch[:32], alone),
        "losses": losses,
        "largest_difference_of_losses": max(abs(a - b) for a, b in zip(*losses.values(), strict=True)),
    }


def _way(config: ModelConfig) -> str:
    from semievol.local.model import local_model

    return local_model(config).way.name


def _nats(found: Sequence[Response], expected: Sequence[Response]) -> dict[str, float]:
    """How far H is off: the mean and the most over the responses."""
    off = [abs(_h(one) - _h(other)) for one, other in zip(found, expected, strict=True)]
    return {"mean": statistics.mean(off), "most": max(off)}


def _h(response: Response) -> float:
    assert response.logprobs
    return -statistics.mean(response.logprobs)


def _alike(found: Sequence[Response], expected: Sequence[Response]) -> float:
    """The share of responses whose texts are the same; of random weights, whose next tokens are nearly as likely."""
    return statistics.mean(one.text == other.text for one, other in zip(found, expected, strict=True))
