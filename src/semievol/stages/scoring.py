"""Collaborators that are asked for the probability of every answer of a closed set, instead of for one answer.

An answer's probability is that of its response under the collaborator's prompt, divided by the sum over all answers
that the row can have. An engine that shares what prompts have in common reads a prompt once for all of them. Where one
response begins another ("science", "science fiction"), the longer one's probability is taken from the shorter one's:
what is scored is the response alone, without the end of the turn.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from semievol.errors import BackendError
from semievol.records import Candidate, Collaborator, Example, Request, Response, ScoredCandidates
from semievol.run_folder.place import make_folder
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.answerer import nearest_examples
from semievol.stages.committee import FOLD, members
from semievol.stages.out_of_fold import labeled_shards, out_of_fold, require_above_chance
from semievol.stages.round import Round, Shard
from semievol.tasks import Task

LEAST = 1e-6
"""What is left at least of the probability of a response that begins another."""


def score_rows(round_: Round, stage: Stage, crew: Mapping[str, Collaborator]) -> None:
    """Scores the labeled rows out of fold, if there is a committee, and then the unlabeled ones.

    Raises:
        GateError: the labeled rows are told no better than by chance.
        BackendError: the engine cannot score.
    """
    labeled = labeled_shards(stage)
    if any(name.startswith(FOLD) for name in round_.models) or not round_.config.warmup.enabled:
        make_folder(labeled.path)
        round_.run_shards(
            labeled,
            round_.labeled,
            partial(score_shard, out_of_fold(round_), labeled, crew),
            title="collaborate, labeled rows out of fold",
            requests=_requests_of(round_, round_.labeled, crew, out_of_fold=True),
        )
        require_above_chance(round_, _likeliest(round_, labeled))
    round_.run_shards(
        stage.shards,
        round_.unlabeled,
        partial(score_shard, round_, stage.shards, crew),
        title="collaborate",
        requests=_requests_of(round_, round_.unlabeled, crew, out_of_fold=False),
    )


def _likeliest(round_: Round, labeled: Shards) -> list[str | None]:
    """The answer of each labeled row that its collaborators together find the likeliest; `None` if they said none."""
    answers: list[str | None] = []
    for example, row in zip(round_.labeled, labeled.rows(), strict=True):
        distributions = [shares for shares in row["probabilities"] if shares]
        choices = round_.task.choices(example) or ()
        answers.append(choices[int(np.mean(distributions, axis=0).argmax())] if distributions else None)
    return answers


def score_shard(round_: Round, shards: Shards, crew: Mapping[str, Collaborator], shard: Shard) -> None:
    """Scores the answers of one shard and writes its part.

    Args:
        crew: the collaborators by their names.

    Raises:
        BackendError: the engine cannot score.
    """
    if not round_.answerer.backend.scores:
        raise BackendError("collaborate.how is score, and this engine cannot score answers; set it to sample")
    examples = list(shard.rows)
    most = max(collaborator.examples for collaborator in crew.values())
    references = nearest_examples(round_.answerer, examples, most, among_labeled=round_.unseen is not None)
    rows, requests = [], []
    for example, near in zip(examples, references, strict=True):
        row = _Row(round_, example, near)
        for name, collaborator in crew.items():
            models = members(round_, collaborator.weights)
            if round_.unseen is not None:
                models = [round_.model(collaborator.weights, example)]
            requests += [request for model in models for request in row.asked(name, collaborator, model)]
        rows.append(row)
    responses = round_.answerer.answer(requests, shards.journal(shard.index))
    scored = [row.told(crew, responses) for row in rows]
    table = table_of(scored, ScoredCandidates)
    shards.write_part(shard.index, [table], schema_of(ScoredCandidates), responses.values())


def _requests_of(round_: Round, rows: Sequence[Example], crew: Mapping[str, Collaborator], out_of_fold: bool) -> int:
    """How many scores the rows need; of a few rows, as all of them are alike."""
    looked_at = rows[:: max(1, len(rows) // 100)]
    choices = sum(len(round_.task.choices(example) or ()) for example in looked_at) / max(len(looked_at), 1)
    models = sum(1 if out_of_fold else len(members(round_, collaborator.weights)) for collaborator in crew.values())
    return round(len(rows) * choices * models)


def responses_of(task: Task, example: Example) -> list[str]:
    """The response for each answer that the example can have, (K,)."""
    choices = task.choices(example) or ()
    return [task.response(dataclasses.replace(example, answer=choice, response=None)) for choice in choices]


class _Row:
    """An example, the responses that it can have, and what they are scored for."""

    def __init__(self, round_: Round, example: Example, near: Sequence[Example]) -> None:
        self._round, self._example, self._near = round_, example, near
        self._choices = round_.task.choices(example) or ()
        self._texts = responses_of(round_.task, example)
        self._models: dict[str, list[str]] = {}

    def asked(self, name: str, collaborator: Collaborator, model: str) -> list[Request]:
        """The requests that score each answer by one model."""
        self._models.setdefault(name, []).append(model)
        messages = self._round.task.messages(self._example, self._near[: collaborator.examples])
        return [
            Request(f"{self._example.id}/{name}/{model}/{place}", messages, model, response=text)
            for place, text in enumerate(self._texts)
        ]

    def told(self, crew: Mapping[str, Collaborator], responses: Mapping[str, Response]) -> ScoredCandidates:
        """What each collaborator says."""
        candidates, probabilities = [], []
        for name, collaborator in crew.items():
            scores = {
                model: [responses[f"{self._example.id}/{name}/{model}/{place}"] for place in range(len(self._texts))]
                for model in self._models[name]
            }
            shares = joint_shares(list(scores.values()), self._texts)
            best = max(range(len(shares)), key=shares.__getitem__, default=None)
            own = scores.get(collaborator.weights)  # H is that of M_warm, and not of its committee
            candidates.append(
                Candidate(
                    collaborator=name,
                    text="" if best is None else self._texts[best],
                    answer=None if best is None else self._choices[best],
                    mean_nll=None if best is None or own is None else own[best].mean_nll,
                    references=tuple(reference.id for reference in self._near[: collaborator.examples]),
                    finish="error" if best is None else "scored",
                )
            )
            probabilities.append(tuple(shares))
        return ScoredCandidates(self._example.id, tuple(candidates), tuple(probabilities))


def joint_shares(scores: Sequence[Sequence[Response]], texts: Sequence[str]) -> list[float]:
    """The probability of each answer by all models together, their geometric mean; nothing if none has answered.

    Args:
        scores: of each model, the scored responses, one for each of `texts`.
        texts: the responses that are answers, (K,).
    """
    logs = [
        _log_shares([math.fsum(response.logprobs or ()) for response in of_model], texts)
        for of_model in scores
        if of_model and all(response.logprobs for response in of_model)
    ]
    if not logs:
        return []
    mean = np.mean(logs, axis=0)
    shares = np.exp(mean - mean.max())
    result: list[float] = (shares / shares.sum()).tolist()
    return result


def _log_shares(totals: Sequence[float], texts: Sequence[str]) -> list[float]:
    """Log of each response's share of the probability of all, (K,)."""
    peak = max(totals)
    mass = [math.exp(total - peak) for total in totals]
    for place in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        short = texts[place]
        longer = sum(m for m, text in zip(mass, texts, strict=True) if text != short and text.startswith(short))
        mass[place] = max(mass[place] - longer, LEAST * mass[place])
    total = math.fsum(mass)
    return [math.log(max(share / total, 1e-300)) for share in mass]
