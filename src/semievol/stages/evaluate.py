"""Evaluation: every model answers the test rows by generation; pseudo-labels are held against the truth if known."""

import dataclasses
import json
import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from semievol import metrics
from semievol.config.places import Place
from semievol.data import digest, truth_digest
from semievol.errors import ConfigError
from semievol.records import Answer, Example, Request, Response, Sampling
from semievol.run_folder.files import forget_sum, write_sum, write_text
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.parquet import iter_rows, write_tables
from semievol.run_folder.place import make_folder, remove_folder
from semievol.run_folder.schema import schema_of, table_of
from semievol.run_folder.shards import Shards
from semievol.run_folder.stage import Stage
from semievol.stages.answerer import nearest_examples
from semievol.stages.baselines import BASELINES, READ_UNLABELED, BaselineRows
from semievol.stages.round import Round, Shard, seed_of
from semievol.tasks import Task, answer_in, open_task
from semievol.tasks.labels import Labels
from semievol.trust.estimates import quality, risk_coverage

SCHEMA = schema_of(Answer)


def evaluate(
    round_: Round,
    test: Sequence[Example],
    selections: Sequence[Stage] = (),
    unlabeled_truth: Mapping[str, str | None] | None = None,
) -> Stage:
    """The stage folder with each model's answers and `metrics.json`.

    Args:
        round_: the first round, with every model of the test.
        test: the rows to answer.
        selections: the selections of all rounds, to be held against the truth.
        unlabeled_truth: canonical answers of unlabeled rows by id, if they are known after the fact.
    """
    config = round_.config
    models = [m for m in config.evaluate.models if m == "base" or m in round_.models]
    stage = round_.folder.stage("evaluate")
    digests = {model: trained_by.digest for model, trained_by in round_.models.items()}
    key = round_.key(
        "evaluate",
        test=digest(test),
        labeled=digest(round_.labeled),
        weights=digests,
        models=models,
        baselines=list(config.evaluate.baselines),
        max_tokens=config.longest_at_test,
        embedder=config.retrieval.embedder if config.evaluate.baselines else "",
        truth=None if unlabeled_truth is None else truth_digest(unlabeled_truth),
        selections=[selection.digest for selection in selections],
        engine=round_.engine_key(),
        **_learned_otherwise(round_),
        **_asked_otherwise(round_),
    )
    revision = selections[-1].revision if selections else 0
    renew = partial(_forget_changed, stage, digests)
    left = round_.begin(stage, key, revision, reads_rows=True, renew=renew, figures=("truth",))
    if left or not stage.metrics_path.exists():
        round_ = _as_tested(round_)
        before = dataclasses.replace(round_.answerer.usage)
        figures: dict[str, dict[str, Any]] = {model: _measure(round_, stage, model, test) for model in models}
        for name in config.evaluate.baselines:
            figures[name] = _measure_baseline(round_, stage, name, test)
        result: dict[str, Any] = {"models": figures}
        if unlabeled_truth is not None:
            result["pseudo_labels"] = pseudo_label_metrics(round_.task, last_fates(selections), unlabeled_truth)
        write_text(stage.metrics_path, _json(result))
        round_.finish(stage, {"rows": len(test), "models": list(figures), **round_.answerer.usage.since(before)})
    return stage


def answer_rows(round_: Round, stage: Stage, model: str, rows: Sequence[Example]) -> Shards:
    """The folder below the stage's with a model's greedy answers to `rows`, shard by shard."""
    below = Shards(stage.path / model)
    make_folder(below.path)
    answer = partial(_answer_shard, round_, below, model)
    round_.run_shards(below, rows, answer, title=f"evaluate {model}", requests=len(rows))
    return below


def _answer_shard(round_: Round, below: Shards, model: str, shard: Shard) -> None:
    examples = list(shard.rows)
    references = nearest_examples(round_.answerer, examples, round_.config.evaluate.examples)
    requests = [_request(round_, e, model, near) for e, near in zip(examples, references, strict=True)]
    responses = round_.answerer.answer(requests, below.journal(shard.index))
    answers = [answer_row(round_.task, e, responses[f"{e.id}/{model}"]) for e in examples]
    below.write_part(shard.index, [table_of(answers, Answer)], SCHEMA, responses.values())


def answer_row(task: Task, example: Example, response: Response) -> Answer:
    """One answer with its confidence."""
    answer = answer_in(task, response, example)
    right = None
    if example.answer is not None:
        right = answer is not None and task.equal(answer, example.answer)
    return Answer(
        id=example.id,
        truth=example.answer,
        answer=answer,
        right=right,
        category=example.category,
        text=response.text,
        mean_nll=response.mean_nll,
        probability=None if response.logprobs is None else math.exp(sum(response.logprobs)),
        finish=response.finish,
    )


def summarize(task: Task, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracy, F1 if answers are of a closed set or sets of labels, AUROC of the confidence, accuracy by category."""
    right = [bool(row["right"]) for row in rows]
    result = metrics.accuracy(right)
    result["no_answer"] = sum(row["answer"] is None for row in rows)
    result["cut"] = sum(row["finish"] == "length" for row in rows)
    if task.answers() is not None:
        result["macro_f1"] = metrics.macro_f1([row["truth"] for row in rows], [row["answer"] for row in rows])
    if isinstance(task, Labels):
        sets = [[task.labels_of(row[name]) for row in rows] for name in ("truth", "answer")]
        result["micro_f1"], result["macro_f1"] = metrics.f1_of_sets(*sets)
    if rows and all(row["probability"] is not None for row in rows):
        result["auroc"] = metrics.auroc([row["probability"] for row in rows], right)
    groups: dict[str, list[bool]] = defaultdict(list)
    for row, verdict in zip(rows, right, strict=True):
        if row["category"] is not None:
            groups[row["category"]].append(verdict)
    if groups:
        result["categories"] = {name: metrics.accuracy(groups[name]) for name in sorted(groups)}
    return result


FATE = ("id", "answer", "origin", "agreement", "mean_nll", "probability", "kept")
"""What is read of a pseudo-label."""


def selections_of(folder: RunFolder) -> list[Stage]:
    """The selections of all rounds that are done.

    Raises:
        ConfigError: there is none.
    """
    selections = [stage for _, stage in folder.stages() if stage.name == "select" and stage.is_done]
    if not selections:
        raise ConfigError(f"{folder.path} has selected nothing yet; semievol stage select brings it there")
    return selections


def last_fates(selections: Sequence[Stage], columns: Sequence[str] = FATE) -> Iterator[dict[str, Any]]:
    """Each unlabeled row once: one that a round rejected stands in the next one again, and its last fate counts.

    Args:
        columns: what is wanted of them, `kept` among it.
    """
    for selection in selections:
        for row in iter_rows(selection.rows_path, list(columns)):
            if row["kept"] or selection is selections[-1]:
                yield row


def pseudo_label_metrics(
    task: Task, rows: Iterable[Mapping[str, Any]], truth: Mapping[str, str | None]
) -> dict[str, Any]:
    """True accuracy of the pseudo-labels: all, kept, by origin; and how well -H ranks right above wrong.

    With calibrated probabilities also what those are worth, beside -H on the same rows.
    """
    rows_of: Counter[str] = Counter()
    right_of: Counter[str] = Counter()
    confidence, verdicts = array("d"), list[bool]()
    pooled, pooled_verdicts, pooled_h = array("d"), list[bool](), array("d")
    for row in rows:
        if (true_answer := truth.get(row["id"])) is None:
            continue
        right = row["answer"] is not None and task.equal(row["answer"], true_answer)
        groups = ["all", row["origin"], *(["kept"] if row["kept"] else [])]
        rows_of.update(groups)
        if right:
            right_of.update(groups)
        if row["mean_nll"] is not None:
            confidence.append(-row["mean_nll"])
            verdicts.append(right)
        if row["probability"] is not None:
            pooled.append(row["probability"])
            pooled_h.append(-row["mean_nll"] if row["mean_nll"] is not None else -math.inf)
            pooled_verdicts.append(right)
    accuracy = {group: metrics.share(right_of[group], rows_of[group]) for group in {"all", "kept", *rows_of}}
    return {
        "all": accuracy.pop("all"),
        "kept": accuracy.pop("kept"),
        "by_origin": {origin: accuracy[origin] for origin in sorted(accuracy)},
        "auroc_of_h": metrics.auroc(confidence, verdicts),
        **({"probability": _worth(pooled, pooled_h, pooled_verdicts)} if pooled else {}),
    }


def _worth(probabilities: Sequence[float], minus_h: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """What calibrated probabilities are worth, and the area under risk-coverage of -H on the same rows."""
    worth = quality(np.asarray(probabilities), right)
    return worth | {"risk_coverage_of_h": risk_coverage(np.asarray(minus_h), np.asarray(right, dtype=bool))}


def _measure(round_: Round, stage: Stage, model: str, test: Sequence[Example]) -> dict[str, Any]:
    path, shards = stage.answers_path(model), Shards(stage.path / model)
    if not path.exists() or shards.may_change:
        forget_sum(path)
        write_tables(path, answer_rows(round_, stage, model, test).tables(), SCHEMA)
        write_sum(path)
    if not shards.failures():  # nor is anything there if an earlier process was killed here
        remove_folder(shards.path)
    return _summary(round_, path)


def _summary(round_: Round, answers: Place) -> dict[str, Any]:
    columns = ["truth", "answer", "right", "category", "probability", "finish"]
    return summarize(round_.task, list(iter_rows(answers, columns)))


def _forget_changed(stage: Stage, digests: Mapping[str, str], old: Mapping[str, Any]) -> None:
    """Removes the answers of models that were made anew; the others' stand."""
    for model in old["weights"]:
        if old["weights"][model] != digests.get(model):
            stage.answers_path(model).unlink(missing_ok=True)
            remove_folder(stage.path / model)


def _measure_baseline(round_: Round, stage: Stage, name: str, test: Sequence[Example]) -> dict[str, Any]:
    with round_.reporter.stage(f"evaluate {name}", 1, "models"):
        answers = BASELINES[name](round_.config, BaselineRows(round_.labeled, round_.unlabeled, test))
        round_.reporter.advance()
    rows = [
        answer_row(round_.task, example, Response(example.id, answer, (math.log(p),), "stop", 0, 0))
        for example, (answer, p) in zip(test, answers, strict=True)
    ]
    write_tables(stage.answers_path(name), [table_of(rows, Answer)], SCHEMA)
    return _summary(round_, stage.answers_path(name))


def _learned_otherwise(round_: Round) -> dict[str, Any]:
    """The part of the key that says what baselines learn beside the labeled rows; empty if it is nothing."""
    if READ_UNLABELED.isdisjoint(round_.config.evaluate.baselines):
        return {}
    selection = round_.config.select.model_dump(mode="json", include={"enabled", "theta", "per_answer"})
    return {"learned": digest(round_.unlabeled), "rule": selection}


def _asked_otherwise(round_: Round) -> dict[str, Any]:
    """The part of the key that says how the prompts differ from those of the training; empty if they do not."""
    section, key = round_.config.evaluate, dict[str, Any]()
    if section.examples:
        key |= {
            "examples": section.examples,
            "retrieval": round_.config.retrieval.model_dump(mode="json"),
        }
    if section.instruction is not None:
        key["instruction"] = section.instruction
    return key


def _as_tested(round_: Round) -> Round:
    """The round with the task's words at the test, and with the labeled rows to retrieve from."""
    if round_.config.evaluate.examples:
        round_.answerer.learn(round_.labeled)
    instruction = round_.config.evaluate.instruction
    if instruction is None:
        return round_
    task = round_.config.task.model_copy(update={"instruction": instruction})
    return dataclasses.replace(round_, task=open_task(task, round_.labeled))


def _request(round_: Round, example: Example, model: str, references: Sequence[Example]) -> Request:
    return Request(
        id=f"{example.id}/{model}",
        messages=round_.task.messages(example, references),
        weights=model,
        sampling=Sampling(
            max_tokens=round_.config.longest_at_test,
            seed=seed_of(round_.config.seed, example.id, model),
            stop=round_.task.stops(),
        ),
    )


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
