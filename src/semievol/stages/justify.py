"""Self-justification (Eq. 5): M_warm settles disagreements; then H of each pseudo-response (Eq. 6).

H is computed here and not in `select` because it needs the engine: another θ then costs nothing.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import pyarrow as pa

from semievol.records import Candidate, Example, FinalAnswer, Origin, Request, Response, Sampling
from semievol.run_folder.files import read_columns
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.confidence import Confidence, measure, warm_weights
from semievol.stages.round import Round, Shard, seed_of
from semievol.tasks import Task, answer_in
from semievol.tasks.responses import without_thoughts


def justify(round_: Round, collaborated: Stage) -> Stage:
    """The stage folder with one row for each unlabeled prompt: the final answer, its agreement and its H."""
    stage = round_.stage("justify")
    key = round_.key("justify", collaborate=collaborated.digest, justify=round_.config.justify.model_dump(mode="json"))
    if round_.begin(stage, key, collaborated.revision, reads_rows=True):
        before = dataclasses.replace(round_.answerer.usage)
        round_.run_shards(
            stage.shards,
            round_.unlabeled,
            partial(_settle_shard, round_, stage.shards, collaborated.shards),
            title="justify",
            requests=_expected(round_, collaborated),
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


def _expected(round_: Round, collaborated: Stage) -> int:
    """How many answers the stage needs at most: a justification if it is asked, and a score for each row."""
    count = 0
    for table in collaborated.shards.tables(["candidates.list.element.answer"]):
        for row in table["candidates"].to_pylist():
            count += _asks(round_, [candidate["answer"] for candidate in row])
    return count + len(round_.unlabeled)


def _settle_shard(round_: Round, shards: Shards, collaborated: Shards, shard: Shard) -> None:
    candidate_table = read_columns(collaborated.part_path(shard.index), ["candidates"])
    rows = list(zip(shard.rows, _candidates(candidate_table["candidates"]), strict=True))
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
    final_answers = [_with_confidence(final, confidences.get(final.id)) for final in final_answers]
    table = table_of(final_answers, FinalAnswer, candidates=candidate_table["candidates"])
    shards.write_part(
        shard.index, [table], schema_of(FinalAnswer), (justifications | responses).values(), above=collaborated
    )


def _with_confidence(final: FinalAnswer, confidence: Confidence | None) -> FinalAnswer:
    if confidence is None:
        return final
    return dataclasses.replace(final, mean_nll=confidence.mean_nll, h_from=confidence.origin)


def _forget_changed(round_: Round, shards: Shards, shard: Shard, table: pa.Table) -> None:
    """Takes back rows whose candidates have changed, because requests that failed were answered since.

    What was asked about them stands if it would be asked in the same words.
    """
    part = shards.part_path(shard.index)
    if not part.exists():
        return
    before = _candidates(read_columns(part, ["candidates"])["candidates"])
    ids = set()
    for example, old, new in zip(shard.rows, before, _candidates(table["candidates"]), strict=True):
        if old != new:
            ids.add(f"{example.id}/score")
            if _justification_request(round_, example, old) != _justification_request(round_, example, new):
                ids.add(f"{example.id}/justify")
    if ids:
        shards.journal(shard.index).forget(ids)
        shards.reopen(shard.index)


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


def _asks(round_: Round, answers: Sequence[str | None]) -> bool:
    """Whether M_warm is asked for the final answer, given the collaborators' answers."""
    mode = round_.config.justify.mode
    readable = [answer for answer in answers if answer is not None]
    if mode == "majority" or len(answers) == 1 or not readable:
        return False
    unanimous = len(readable) == len(answers) and all(round_.task.equal(answer, readable[0]) for answer in readable)
    return mode == "all" or not unanimous


def _settle(
    round_: Round, example: Example, candidates: Sequence[Candidate], justification: Response | None
) -> FinalAnswer:
    """The final answer, whose H is not known yet."""
    task, final = round_.task, partial(_final, round_, example, candidates)
    if justification is not None:
        answer = answer_in(task, justification, example)
        if answer is None:
            return final(None, "none", justification)
        return final(answer, "justified", justification)
    different = distinct(task, candidates)
    if not different:
        return final(None, "none")
    # max() takes the first of equals: ties go to the earlier collaborator.
    answer = max((c.answer for c in different if c.answer), key=lambda a: agreement(task, a, candidates))
    if len(candidates) == 1:
        return final(answer, "single")
    return final(answer, "unanimous" if agreement(task, answer, candidates) == 1 else "majority")


def _final(
    round_: Round,
    example: Example,
    candidates: Sequence[Candidate],
    answer: str | None,
    origin: Origin,
    justification: Response | None = None,
) -> FinalAnswer:
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


def _justification_request(round_: Round, example: Example, candidates: Sequence[Candidate]) -> Request:
    config = round_.config
    texts = [c.text if round_.has_solutions else c.answer for c in distinct(round_.task, candidates)]
    return Request(
        id=f"{example.id}/justify",
        messages=round_.task.justify(example, [text for text in texts if text]),
        weights=warm_weights(round_.config),
        sampling=Sampling(
            temperature=config.justify.temperature,
            max_tokens=config.longest,
            seed=seed_of(config.seed, round_.number, example.id, "justify"),
            stop=round_.task.stops(),
        ),
    )


def _candidates(column: pa.ChunkedArray) -> list[list[Candidate]]:
    """The candidates of each row."""
    rows = column.combine_chunks()
    fields = {field.name: rows.values.field(field.name).to_pylist() for field in dataclasses.fields(Candidate)}
    fields["references"] = [tuple(ids) for ids in fields["references"]]
    candidates = [Candidate(*values) for values in zip(*fields.values(), strict=True)]
    return [candidates[start:end] for start, end in pairwise(rows.offsets.to_pylist())]
