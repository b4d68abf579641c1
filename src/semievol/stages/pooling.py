"""One calibrated distribution of each row, by all collaborators and views together (beyond the paper)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from semievol.records import Candidate, Example, FinalAnswer, OutOfFold
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.collaborate import collaborators, names_of
from semievol.stages.committee import parts_of
from semievol.stages.confidence import measure
from semievol.stages.final import candidates_in, final_answer, with_confidence
from semievol.stages.out_of_fold import cross_fitted_views, keep, labeled_shards
from semievol.stages.round import Round, Shard
from semievol.tasks import Task
from semievol.trust import Array, View
from semievol.trust.calibration import log_loss
from semievol.trust.pool import FLOOR, Pool, cross_fitted, fitted


@dataclass(frozen=True)
class Pooled:
    """The pool with all that it needs to tell rows: can be sent to other processes."""

    pool: Pool
    views: tuple[View, ...]

    def distribution(self, task: Task, examples: Sequence[Example], scores: Sequence[Any]) -> Array:
        """The probability of each answer that each row can have, in the order of `Task.choices`, (N, K).

        Args:
            scores: the collaborators' probabilities of each row, as in `ScoredCandidates`.
        """
        views = [view.probabilities(examples) for view in self.views]
        return self.pool.combined([*collaborators_of(task, examples, scores), *map(np.log, views)])


def pooled(round_: Round, collaborated: Stage, stage: Stage) -> Pooled:
    """The pool, fitted on the labeled rows; what it says of each of them out of fold is left in the stage's folder."""
    task, labeled = round_.task, round_.labeled
    parts = parts_of(round_, labeled)
    scores = [row["probabilities"] for row in labeled_shards(collaborated).rows()]
    views, unseen = cross_fitted_views(round_, parts)
    inputs = [*collaborators_of(task, labeled, scores), *unseen]
    choices = [task.choices(example) or () for example in labeled]
    truth = np.array([_place(task, own, example.answer or "") for own, example in zip(choices, labeled, strict=True)])
    recurring = task.answers() is not None
    pool = fitted(inputs, truth, recurring)
    known = cross_fitted(inputs, truth, parts, recurring)
    rows = []
    for example, own, shares, place in zip(labeled, choices, known, truth, strict=True):
        best = int(shares.argmax())
        rows.append(OutOfFold(example.id, example.answer or "", own[best], best == place, float(shares[best])))
    names = [*names_of(collaborators(round_.config)), *(round_.config.justify.views if views else ())]
    loss = log_loss(np.log(np.maximum(known, FLOOR)), truth)
    keep(stage, "pool.json", {"views": names, **asdict(pool)}, rows, log_loss=loss)
    return Pooled(pool, views)


def pool_shard(round_: Round, shards: Shards, collaborated: Shards, pool: Pooled, shard: Shard) -> None:
    """Settles one shard by the pool, and writes its part."""
    examples = list(shard.rows)
    table = collaborated.part(shard.index, [example.id for example in examples], ["candidates", "probabilities"])
    distribution = pool.distribution(round_.task, examples, table["probabilities"].to_pylist())
    final_answers = [
        _final(round_, example, candidates, shares)
        for example, candidates, shares in zip(examples, candidates_in(table["candidates"]), distribution, strict=True)
    ]
    _forget_changed(shards, shard.index, final_answers)
    journal = shards.journal(shard.index)
    with journal.writer():  # it is there, if nothing is asked too: scores above may come later, see `write_part`
        pass
    with_response = [pair for pair in zip(examples, final_answers, strict=True) if pair[1].response]
    confidences, responses = measure(round_, with_response, journal)
    final_answers = [with_confidence(final, confidences.get(final.id)) for final in final_answers]
    part = table_of(final_answers, FinalAnswer, candidates=table["candidates"])
    shards.write_part(shard.index, [part], schema_of(FinalAnswer), responses.values(), above=collaborated)


def collaborators_of(task: Task, examples: Sequence[Example], scores: Sequence[Any]) -> list[Array]:
    """Each collaborator's log-probabilities, (N, K): -inf where a row has no such answer, equal where it said nothing.

    Args:
        scores: its probabilities of each row, as in `ScoredCandidates`.
    """
    counts = [len(task.choices(example) or ()) for example in examples]
    crew = max(map(len, scores), default=0)
    log_probabilities = [np.full((len(examples), max(counts, default=0)), -np.inf) for _ in range(crew)]
    for row, (count, of_row) in enumerate(zip(counts, scores, strict=True)):
        for collaborator, shares in zip(log_probabilities, of_row, strict=True):
            collaborator[row, :count] = np.log(np.maximum(shares, FLOOR)) if shares else 0.0
    return log_probabilities


def _final(round_: Round, example: Example, candidates: Sequence[Candidate], shares: Array) -> FinalAnswer:
    if all(candidate.answer is None for candidate in candidates):  # every request has failed
        return final_answer(round_, example, candidates, None, "none")
    best = int(shares.argmax())
    answer = (round_.task.choices(example) or ())[best]
    return final_answer(round_, example, candidates, answer, "pooled", probability=float(shares[best]))


def _place(task: Task, choices: Sequence[str], answer: str) -> int:
    """The column of a true answer."""
    return next(place for place, choice in enumerate(choices) if task.equal(choice, answer))


def _forget_changed(shards: Shards, index: int, final_answers: Sequence[FinalAnswer]) -> None:
    """Takes back the scores of responses that are others now, because requests that failed were answered since."""
    if not shards.part_path(index).exists():
        return
    before = shards.part(index, [final.id for final in final_answers], ["response"])["response"].to_pylist()
    changed = {f"{new.id}/score" for old, new in zip(before, final_answers, strict=True) if old != new.response}
    if changed:
        shards.journal(index).forget(changed)
        shards.reopen(index)
