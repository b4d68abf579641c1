"""What a pseudo-label is made of, however it was settled: the answer, the response that trains, its H."""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa

from semievol.records import Candidate, Example, FinalAnswer, Origin, Response
from semievol.stages.confidence import Confidence
from semievol.stages.round import Round
from semievol.tasks import Task
from semievol.tasks.responses import without_thoughts


def final_answer(
    round_: Round,
    example: Example,
    candidates: Sequence[Candidate],
    answer: str | None,
    origin: Origin,
    justification: Response | None = None,
    probability: float | None = None,
) -> FinalAnswer:
    """The final answer, whose H is not known yet."""
    solution = justification.text if justification is not None and justification.finish != "length" else None
    return FinalAnswer(
        id=example.id,
        answer=answer,
        response=None if answer is None else _response(round_, example, answer, candidates, solution),
        origin=origin,
        agreement=agreement(round_.task, answer, candidates),
        mean_nll=None,
        h_from=None,
        justification=None if justification is None else justification.text,
        justification_finish=None if justification is None else justification.finish,
        candidates=tuple(candidates),
        probability=probability,
    )


def _response(
    round_: Round, example: Example, answer: str, candidates: Sequence[Candidate], justification: str | None
) -> str | None:
    """The text that would train a model: the answer's standard form, or the worked solution that led to it.

    If labeled examples are worked solutions, the most likely one with this answer is taken, the justification
    only if no collaborator gave the answer. One that was cut is not taken; `None` if there is no other.
    """
    if not round_.has_solutions:
        return round_.task.response(dataclasses.replace(example, answer=answer, response=None))
    agreeing = [c for c in candidates if c.answer is not None and round_.task.equal(c.answer, answer)]
    uncut = [c for c in agreeing if c.finish != "length"]
    best = min(uncut, key=lambda c: float("inf") if c.mean_nll is None else c.mean_nll, default=None)
    solution = best.text if best else justification
    return without_thoughts(solution).strip() or None if solution else None


def agreement(task: Task, answer: str | None, candidates: Sequence[Candidate]) -> float:
    """Share of the candidates whose answer equals `answer`; 0 if it is `None`."""
    if answer is None:
        return 0.0
    return sum(c.answer is not None and task.equal(c.answer, answer) for c in candidates) / len(candidates)


def distinct(task: Task, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The first candidate of each different answer, in the collaborators' order."""
    different: list[Candidate] = []
    for candidate in candidates:
        answer = candidate.answer
        if answer is not None and not any(
            task.equal(answer, candidate_before.answer) for candidate_before in different if candidate_before.answer
        ):
            different.append(candidate)
    return different


def most_frequent(task: Task, candidates: Sequence[Candidate]) -> str | None:
    """The answer that most candidates gave, of equals the earliest; `None` if none could be read."""
    answers = [candidate.answer for candidate in distinct(task, candidates) if candidate.answer]
    return max(answers, key=lambda answer: agreement(task, answer, candidates), default=None)


def with_confidence(final: FinalAnswer, confidence: Confidence | None) -> FinalAnswer:
    """The final answer with its H, if that is known."""
    if confidence is None:
        return final
    return dataclasses.replace(final, mean_nll=confidence.mean_nll, h_from=confidence.origin)


def candidates_in(column: pa.ChunkedArray) -> list[list[Candidate]]:
    """The candidates of each row."""
    rows = column.combine_chunks()
    fields = {field.name: rows.values.field(field.name).to_pylist() for field in dataclasses.fields(Candidate)}
    fields["references"] = [tuple(ids) for ids in fields["references"]]
    candidates = [Candidate(*values) for values in zip(*fields.values(), strict=True)]
    return [candidates[start:end] for start, end in pairwise(rows.offsets.to_pylist())]
