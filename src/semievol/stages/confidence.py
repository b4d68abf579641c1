"""H of pseudo-responses (Eq. 6): from what M_warm has said already, by scoring them, or by asking M_warm once more."""

from collections.abc import Sequence
from dataclasses import dataclass

from semievol.config import Config
from semievol.records import Example, FinalAnswer, Request, Response, Sampling
from semievol.run_folder.journal import Journal
from semievol.stages.round import Round, seed_of


@dataclass(frozen=True, slots=True)
class Confidence:
    """H of one pseudo-response, and how it was had."""

    mean_nll: float | None
    """In nats per token; `None` if it is unknown."""
    origin: str
    """`collaborator`, `scored`, `asked`, or why H is unknown."""


def measure(
    round_: Round, rows: Sequence[tuple[Example, FinalAnswer]], journal: Journal
) -> tuple[dict[str, Confidence], dict[str, Response]]:
    """H of each row's pseudo-response by row id, and the responses that it took.

    H is the log-probability of the response under M_warm given the plain prompt. If a collaborator is just that,
    and said the very text, it is known. Else the response is scored. A service that cannot score is asked the plain
    prompt greedily, and H is known if it says the very text.
    """
    confidences = {example.id: confidence for example, final in rows if (confidence := _said(round_, final))}
    left = [(example, final.response or "") for example, final in rows if example.id not in confidences]
    if not left:
        return confidences, {}
    if round_.answerer.backend.scores:
        responses = round_.answerer.answer([_score_request(round_, *row) for row in left], journal)
        further = {e.id: _scored(responses[f"{e.id}/score"]) for e, _ in left}
    elif any(candidate.mean_nll is not None for _, final in rows for candidate in final.candidates):
        responses = round_.answerer.answer([_plain_request(round_, example) for example, _ in left], journal)
        further = {e.id: _asked(responses[f"{e.id}/plain"], response) for e, response in left}
    else:
        responses = {}
        further = {e.id: Confidence(None, NO_LOGPROBS) for e, _ in left}
    return confidences | further, responses


NO_LOGPROBS = "unknown: the engine gave no log-probabilities"


def warm_weights(config: Config) -> str:
    """The weights of M_warm; the base model's if there is no warm-up."""
    return "warm" if config.warmup.enabled else "base"


def _said(round_: Round, final: FinalAnswer) -> Confidence | None:
    plain = f"{warm_weights(round_.config)}+0"
    for candidate in final.candidates:
        is_plain_answer = candidate.collaborator.partition("#")[0] == plain and candidate.text == final.response
        if is_plain_answer and candidate.mean_nll is not None:
            return Confidence(candidate.mean_nll, "collaborator")
    return None


def _scored(response: Response) -> Confidence:
    return Confidence(response.mean_nll, "scored") if response.mean_nll is not None else _unknown(response)


def _asked(response: Response, pseudo_response: str) -> Confidence:
    if response.mean_nll is None:
        return _unknown(response)
    if response.text != pseudo_response:
        return Confidence(None, "unknown: the model says something else when asked, and the service cannot score")
    return Confidence(response.mean_nll, "asked")


def _unknown(response: Response) -> Confidence:
    if response.finish == "error":
        return Confidence(None, f"unknown: the request failed: {response.error}")
    return Confidence(None, NO_LOGPROBS)


def _score_request(round_: Round, example: Example, response: str) -> Request:
    return Request(
        id=f"{example.id}/score",
        messages=round_.task.messages(example),
        weights=round_.model(warm_weights(round_.config), example),
        response=response,
    )


def _plain_request(round_: Round, example: Example) -> Request:
    return Request(
        id=f"{example.id}/plain",
        messages=round_.task.messages(example),
        weights=round_.model(warm_weights(round_.config), example),
        sampling=Sampling(
            max_tokens=round_.config.longest,
            seed=seed_of(round_.config.seed, round_.number, example.id, "plain"),
            stop=round_.task.stops(),
        ),
    )
