"""Self-justification (Eq. 5): M_warm settles disagreements; then H of each pseudo-response (Eq. 6).

H is computed here and not in `select` because it needs the engine: another θ then costs nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from semievol.records import Candidate, Example, FinalAnswer, Request, Response, Sampling
from semievol.run_folder.parquet import read_columns
from semievol.run_folder.place import make_folder
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.calibrating import Calibration, calibrated
from semievol.stages.collaborate import labeled_stage
from semievol.stages.confidence import measure, warm_weights
from semievol.stages.final import agreement, candidates_in, distinct, final_answer, most_frequent, with_confidence
from semievol.stages.out_of_fold import labeled_shards, out_of_fold
from semievol.stages.pooling import pool_shard, pooled
from semievol.stages.round import Round, Shard, seed_of
from semievol.tasks import answer_in


def justify(round_: Round, collaborated: Stage) -> Stage:
    """The stage folder with one row for each unlabeled prompt: the final answer, its agreement and its H."""
    stage = round_.stage("justify")
    section = round_.config.justify
    key = round_.key("justify", collaborate=collaborated.digest, **_calibrated_otherwise(round_, collaborated))
    if round_.begin(stage, key, collaborated.revision, reads_rows=True):
        before = dataclasses.replace(round_.answerer.usage)
        if collaborated.revision:
            _reopen_changed(stage.shards, collaborated.shards)
        if section.mode == "pool":
            pool = pooled(round_, collaborated, stage)
            settle = partial(pool_shard, round_, stage.shards, collaborated.shards, pool)
        else:
            calibration = _calibration(round_, collaborated, stage) if section.calibrate else None
            settle = partial(_settle_shard, round_, stage.shards, collaborated.shards, calibration)
        round_.run_shards(
            stage.shards,
            round_.unlabeled,
            settle,
            title="justify",
            requests=_expected(round_, collaborated.shards, len(round_.unlabeled)),
        )
        origins = Counter(origin for table in stage.shards.tables(["origin"]) for origin in table["origin"].to_pylist())
        round_.finish(
            stage,
            {
                "rows": origins.total(),
                **dict(sorted(origins.items())),
                **round_.answerer.usage.since(before),
            },
        )
    return stage


def _reopen_changed(shards: Shards, collaborated: Shards) -> None:
    """Takes back finished shards that were made from other answers, which a disk has damaged since."""
    for index in sorted(shards.closed() & collaborated.closed()):
        ours, theirs = (read_columns(one.part_path(index), ["candidates"]) for one in (shards, collaborated))
        if not ours.equals(theirs):
            shards.reopen(index)


def _calibrated_otherwise(round_: Round, collaborated: Stage) -> dict[str, Any]:
    """The part of the key that says how answers are settled, and by what they are calibrated."""
    section = round_.config.justify
    if section.mode != "pool" and not section.calibrate:
        return {"justify": section.model_dump(mode="json", exclude={"views", "calibrate"})}
    labeled = {"out_of_fold": labeled_stage(collaborated).digest} if section.calibrate else {}
    unused = set() if section.calibrate else {"calibrate"}
    return {
        "justify": section.model_dump(mode="json", exclude=unused),
        "embedder": round_.config.retrieval.embedder,
        **labeled,
    }


def _calibration(round_: Round, collaborated: Stage, stage: Stage) -> Calibration:
    """How likely answers are right, by the labeled rows, which are settled first as the unlabeled ones will be."""
    source, shards = labeled_shards(collaborated), labeled_shards(stage)
    make_folder(shards.path)
    round_.run_shards(
        shards,
        round_.labeled,
        partial(_settle_shard, out_of_fold(round_), shards, source, None),
        title="justify, labeled rows out of fold",
        requests=_expected(round_, source, len(round_.labeled)),
    )
    return calibrated(round_, stage)


def _expected(round_: Round, collaborated: Shards, rows: int) -> int:
    """How many answers the stage needs at most: a justification if it is asked, and a score for each row."""
    count = 0
    for table in collaborated.tables(["candidates.list.element.answer"]):
        for row in table["candidates"].to_pylist():
            count += _asks(round_, [candidate["answer"] for candidate in row])
    return count + rows


def _settle_shard(
    round_: Round, shards: Shards, collaborated: Shards, calibration: Calibration | None, shard: Shard
) -> None:
    candidate_table = collaborated.part(shard.index, [example.id for example in shard.rows], ["candidates"])
    rows = list(zip(shard.rows, candidates_in(candidate_table["candidates"]), strict=True))
    _forget_changed(round_, shards, shard, candidate_table)
    journal = shards.journal(shard.index)
    requests = [
        _justification_request(round_, e, candidates)
        for e, candidates in rows
        if _asks(round_, [c.answer for c in candidates])
    ]
    justifications = round_.answerer.answer(requests, journal)
    final_answers = [_settle(round_, e, candidates, justifications.get(f"{e.id}/justify")) for e, candidates in rows]
    with_response = [
        (example, final) for example, final in zip(shard.rows, final_answers, strict=True) if final.response
    ]
    confidences, responses = measure(round_, with_response, journal)
    final_answers = [with_confidence(final, confidences.get(final.id)) for final in final_answers]
    if calibration is not None:
        final_answers = calibration.with_probability(round_.task, list(shard.rows), final_answers)
    table = table_of(final_answers, FinalAnswer, candidates=candidate_table["candidates"])
    shards.write_part(
        shard.index, [table], schema_of(FinalAnswer), (justifications | responses).values(), above=collaborated
    )


def _forget_changed(round_: Round, shards: Shards, shard: Shard, table: pa.Table) -> None:
    """Takes back rows whose candidates have changed, because requests that failed were answered since.

    What was asked about them stands if it would be asked in the same words.
    """
    if not shards.part_path(shard.index).exists():
        return
    before = candidates_in(
        shards.part(shard.index, [example.id for example in shard.rows], ["candidates"])["candidates"]
    )
    ids = set()
    for example, old, new in zip(shard.rows, before, candidates_in(table["candidates"]), strict=True):
        if old != new:
            ids.add(f"{example.id}/score")
            if _justification_request(round_, example, old) != _justification_request(round_, example, new):
                ids.add(f"{example.id}/justify")
    if ids:
        shards.journal(shard.index).forget(ids)
        shards.reopen(shard.index)


def _asks(round_: Round, answers: Sequence[str | None]) -> bool:
    """Whether M_warm is asked for the final answer, given the collaborators' answers."""
    mode = round_.config.justify.mode
    readable = [answer for answer in answers if answer is not None]
    if mode in ("majority", "pool") or len(answers) == 1 or not readable:
        return False
    unanimous = len(readable) == len(answers) and all(round_.task.equal(answer, readable[0]) for answer in readable)
    return mode == "all" or not unanimous


def _settle(
    round_: Round, example: Example, candidates: Sequence[Candidate], justification: Response | None
) -> FinalAnswer:
    """The final answer, whose H is not known yet."""
    task, final = round_.task, partial(final_answer, round_, example, candidates)
    if justification is not None:
        answer = answer_in(task, justification, example)
        if answer is None:
            return final(None, "none", justification)
        return final(answer, "justified", justification)
    answer = most_frequent(task, candidates)
    if answer is None:
        return final(None, "none")
    if len(candidates) == 1:
        return final(answer, "single")
    return final(answer, "unanimous" if agreement(task, answer, candidates) == 1 else "majority")


def _justification_request(round_: Round, example: Example, candidates: Sequence[Candidate]) -> Request:
    config = round_.config
    texts = [c.text if round_.has_solutions else c.answer for c in distinct(round_.task, candidates)]
    return Request(
        id=f"{example.id}/justify",
        messages=round_.task.justify(example, [text for text in texts if text]),
        weights=round_.model(warm_weights(config), example),
        sampling=Sampling(
            temperature=config.justify.temperature,
            max_tokens=config.longest,
            seed=seed_of(config.seed, round_.number, example.id, "justify"),
            stop=round_.task.stops(),
        ),
    )
