"""Collaborative learning (Eq. 3, 4): several configurations of the model answer every unlabeled prompt."""

import dataclasses
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

from semievol.config import Config
from semievol.data import digest
from semievol.records import Candidate, Candidates, Collaborator, Example, Request, Response, Sampling
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.answerer import nearest_examples
from semievol.stages.committee import FOLD
from semievol.stages.final import candidates_in, most_frequent
from semievol.stages.out_of_fold import labeled_shards, out_of_fold, require_above_chance
from semievol.stages.round import Round, Shard, seed_of
from semievol.stages.scoring import score_rows
from semievol.tasks import answer_in


def collaborate(round_: Round) -> Stage:
    """The stage folder with one row for each unlabeled prompt: its id and the candidates."""
    config = round_.config
    crew = collaborators(config)
    scores = config.collaborate.how == "score"
    stage = round_.stage("collaborate")
    settings = {
        "warm": round_.warm_digest,
        "labeled": digest(round_.labeled),
        "collaborators": [collaborator.name for collaborator in crew],
        "sampling": dataclasses.asdict(_sampling(round_, 0)),
        "retrieval": config.retrieval.model_dump(mode="json"),
        "engine": round_.engine_key(),
    }
    folds = {name: model.digest for name, model in round_.models.items() if name.startswith(FOLD)}
    otherwise = {"how": "score", "folds": folds} if scores else {}
    before = dataclasses.replace(round_.answerer.usage)
    key = round_.key("collaborate", unlabeled=digest(round_.unlabeled), **settings, **otherwise)
    work_left = round_.begin(stage, key, round_.revision)
    if config.justify.calibrate:
        _answer_labeled(round_, stage, round_.key("collaborate", folds=folds, **settings), crew, work_left)
    if work_left:
        if scores:
            score_rows(round_, stage, dict(zip(names_of(crew), crew, strict=True)))
        else:
            round_.run_shards(
                stage.shards,
                round_.unlabeled,
                partial(answer_shard, round_, stage.shards, crew),
                title="collaborate",
                requests=len(round_.unlabeled) * len(crew),
            )
        round_.finish(
            stage,
            {
                "rows": len(round_.unlabeled),
                "collaborators": [collaborator.name for collaborator in crew],
                "max_tokens": config.longest,
                "cut": _cut(stage.shards),
                **round_.answerer.usage.since(before),
            },
        )
    return stage


def labeled_stage(collaborated: Stage) -> Stage:
    """The folder of the answers to labeled rows, with a key of its own: it can come to answers that are there."""
    return Stage(labeled_shards(collaborated).path, collaborated.name)


def _answer_labeled(
    round_: Round, stage: Stage, key: Mapping[str, Any], crew: Sequence[Collaborator], gated: bool
) -> None:
    """Answers the labeled rows as the unlabeled ones will be, each by models that have not seen it.

    Raises:
        GateError: the answers are right no more often than by chance, and `gated`.
    """
    labeled = labeled_stage(stage)
    if round_.begin(labeled, key, round_.revision):
        round_.run_shards(
            labeled.shards,
            round_.labeled,
            partial(answer_shard, out_of_fold(round_), labeled.shards, crew),
            title="collaborate, labeled rows out of fold",
            requests=len(round_.labeled) * len(crew),
        )
        round_.finish(labeled, {"rows": len(round_.labeled)})
    if gated:
        columns = (table["candidates"] for table in labeled.shards.tables(["candidates"]))
        rows = chain.from_iterable(map(candidates_in, columns))
        require_above_chance(round_, [most_frequent(round_.task, candidates) for candidates in rows])


def collaborators(config: Config) -> list[Collaborator]:
    """The collaborators of a run: those listed, or `n` drawn from {base, warm} × {0..k} by the seed (B.1).

    Without in-weight propagation all are the base model, without in-context propagation none sees examples;
    without collaborative learning there is one, the warm model with the plain prompt.
    """
    section = config.collaborate
    most = config.retrieval.k if config.retrieval.enabled else 0
    weights: tuple[Literal["base", "warm"], ...] = ("base", "warm") if config.warmup.enabled else ("base",)
    if not section.enabled:
        return [Collaborator(weights[-1], 0)]
    if section.collaborators:
        return [
            Collaborator(collaborator.weights if config.warmup.enabled else "base", min(collaborator.examples, most))
            for collaborator in section.collaborators
        ]
    pool = [Collaborator(name, k) for name in weights for k in range(most + 1)]
    crew: list[Collaborator] = []
    rng = random.Random(f"{config.seed}/collaborators")
    while len(crew) < section.n:
        crew += rng.sample(pool, len(pool))
    return crew[: section.n]


def answer_shard(round_: Round, shards: Shards, crew: Sequence[Collaborator], shard: Shard) -> None:
    """Answers one shard and writes its part."""
    answerer, journal = round_.answerer, shards.journal(shard.index)
    names, examples = names_of(crew), list(shard.rows)
    most = max(collaborator.examples for collaborator in crew)
    references = nearest_examples(answerer, examples, most, among_labeled=round_.unseen is not None)
    requests = [
        Request(
            id=f"{example.id}/{name}",
            messages=round_.task.messages(example, near[: collaborator.examples]),
            weights=round_.model(collaborator.weights, example),
            sampling=_sampling(round_, seed_of(round_.config.seed, round_.number, example.id, name)),
        )
        for example, near in zip(examples, references, strict=True)
        for collaborator, name in zip(crew, names, strict=True)
    ]
    responses = answerer.answer(requests, journal)
    rows = [
        Candidates(
            example.id,
            tuple(
                _candidate(round_, example, near, collaborator, name, responses[f"{example.id}/{name}"])
                for collaborator, name in zip(crew, names, strict=True)
            ),
        )
        for example, near in zip(examples, references, strict=True)
    ]
    shards.write_part(shard.index, [table_of(rows, Candidates)], schema_of(Candidates), responses.values())


def _candidate(
    round_: Round, example: Example, near: Sequence[Example], collaborator: Collaborator, name: str, response: Response
) -> Candidate:
    return Candidate(
        collaborator=name,
        text=response.text,
        answer=answer_in(round_.task, response, example),
        mean_nll=response.mean_nll,
        references=tuple(reference.id for reference in near[: collaborator.examples]),
        finish=response.finish,
    )


def _cut(shards: Shards) -> int:
    """How many responses were cut."""
    return sum(
        candidate["finish"] == "length"
        for table in shards.tables(["candidates.list.element.finish"])
        for row in table["candidates"].to_pylist()
        for candidate in row
    )


def names_of(crew: Sequence[Collaborator]) -> list[str]:
    """`warm+2`, and `warm+2#2` for a second one of the same kind."""
    counts: Counter[str] = Counter()
    names = []
    for collaborator in crew:
        counts[collaborator.name] += 1
        names.append(
            collaborator.name if counts[collaborator.name] == 1 else f"{collaborator.name}#{counts[collaborator.name]}"
        )
    return names


def _sampling(round_: Round, seed: int) -> Sampling:
    section = round_.config.collaborate
    return Sampling(
        temperature=section.temperature if section.enabled else 0.0,
        top_p=section.top_p,
        max_tokens=round_.config.longest,
        seed=seed,
        stop=round_.task.stops(),
    )
