"""How likely each settled answer is right, learned from labeled rows that went the same way out of fold.

For answers that are drawn, of an open set or by a service, there is no distribution over all answers; what there is
tells one answer apart from its like: how many collaborators agree on it, its H, and what the views make of it.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from semievol.records import Example, FinalAnswer, OutOfFold
from semievol.run_folder.stage import Stage
from semievol.stages.committee import parts_of
from semievol.stages.out_of_fold import cross_fitted_views, keep, labeled_shards
from semievol.stages.round import Round
from semievol.tasks import Task
from semievol.trust import Array, View
from semievol.trust.correctness import Correctness, cross_fitted, learned

LEAST_H = 1e-6
"""In nats per token: below it, answers are equally sure."""


@dataclass(frozen=True)
class Calibration:
    """What tells how likely an answer is right; can be sent to other processes."""

    correctness: Correctness
    views: tuple[View, ...]

    def with_probability(
        self, task: Task, examples: Sequence[Example], final_answers: Sequence[FinalAnswer]
    ) -> list[FinalAnswer]:
        """The final answers, each of which that is one with its probability."""
        shares = [view.probabilities(examples) for view in self.views] if len(examples) else []
        columns = evidence(
            task,
            [final.answer for final in final_answers],
            [final.agreement for final in final_answers],
            [final.mean_nll for final in final_answers],
            shares,
        )
        return [
            final if final.answer is None else dataclasses.replace(final, probability=float(probability))
            for final, probability in zip(final_answers, self.correctness.probabilities(columns), strict=True)
        ]


def calibrated(round_: Round, stage: Stage) -> Calibration:
    """What is learned from the labeled rows that the stage has settled; how good it is is left in its folder."""
    task, parts = round_.task, parts_of(round_, round_.labeled)
    settled = list(labeled_shards(stage).rows())
    views, unseen = cross_fitted_views(round_, parts)
    columns = evidence(
        task,
        [row["answer"] for row in settled],
        [row["agreement"] for row in settled],
        [row["mean_nll"] for row in settled],
        [np.exp(known) for known in unseen],
    )
    answered = [place for place, row in enumerate(settled) if row["response"] is not None]
    truth = [example.answer or "" for example in round_.labeled]
    right = [task.equal(settled[place]["answer"], truth[place]) for place in answered]
    correctness = learned(columns[answered], right)
    known = cross_fitted(columns[answered], right, [parts[place] for place in answered])
    rows = [
        OutOfFold(settled[place]["id"], truth[place], settled[place]["answer"], is_right, float(probability))
        for place, is_right, probability in zip(answered, right, known, strict=True)
    ]
    names = ["agreement", "H", *(round_.config.justify.views if views else ())]
    keep(stage, "calibration.json", {"evidence": names, **asdict(correctness)}, rows)
    return Calibration(correctness, views)


def evidence(
    task: Task,
    answers: Sequence[str | None],
    agreements: Sequence[float],
    hs: Sequence[float | None],
    shares: Sequence[Array],
) -> Array:
    """What speaks for each answer, (N, F): agreement, log-odds of e^-H, and of the answer by each view.

    NaN where it is not known: where there is no answer, or no H.

    Args:
        hs: H of each answer, in nats per token.
        shares: of each view, the probability of each of the task's answers, (N, K).
    """
    h = np.maximum(np.array([np.nan if value is None else value for value in hs], dtype=float), LEAST_H)
    columns = [np.array(agreements, dtype=float), -np.log(np.expm1(np.minimum(h, 700.0)))]
    classes = task.answers() or ()
    places = [_place(task, classes, answer) for answer in answers]
    for probabilities in shares:
        own = np.array([np.nan if at is None else row[at] for row, at in zip(probabilities, places, strict=True)])
        columns.append(np.log(own) - np.log1p(-np.minimum(own, 1 - LEAST_H)))
    return np.column_stack(columns)


def _place(task: Task, classes: Sequence[str], answer: str | None) -> int | None:
    """The column of an answer; `None` if it has none."""
    if answer is None:
        return None
    return next((place for place, one in enumerate(classes) if task.equal(one, answer)), None)
