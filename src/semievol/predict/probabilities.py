"""How likely a run's model finds each answer of a closed set, for new rows."""

from collections.abc import Mapping, Sequence

from semievol.config import Config
from semievol.data.trained_task import trained_task
from semievol.errors import ConfigError
from semievol.predict.answering import fitted_to, weights_of
from semievol.predict.inputs import read_inputs
from semievol.progress import Reporter
from semievol.records import Request
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import reaching
from semievol.stages.answerer import Answerer
from semievol.stages.scoring import joint_shares, responses_of


def probabilities(
    config: Config, model: str, source: str | list[str], reporter: Reporter
) -> list[Mapping[str, float] | None]:
    """For each row the probability of every answer, which sum to 1; `None` if it cannot be scored.

    An answer's is that of its response, divided by the sum over all answers that the row can have: the model's own, not
    calibrated.

    Args:
        config: of the run.
        model: `base`, `warm` or `evolved`.
        source: a file of rows, or prompts.

    Raises:
        ConfigError: answers are not of a closed set, or the engine gives no probabilities.
        RunFolderError: the run has no such model yet.
        DataError: the rows cannot be read.
    """
    folder = RunFolder(config.output)
    with reaching(folder.path):
        weights, _ = weights_of(folder, model)
        config = fitted_to(config, folder)
        task, layout = trained_task(config, folder)
        inputs = read_inputs(config, task, layout, source)
    name = model if model in weights else "base"
    answerer = Answerer(config, (), weights, reporter)
    try:
        if not answerer.backend.scores:
            raise ConfigError(f"backend.kind {config.backend.kind} does not score answers, and gives no probabilities")
        texts: list[Sequence[str]] = []
        requests = []
        for number, row in enumerate(inputs.rows):
            texts.append(() if row.example is None else responses_of(task, row.example))
            if row.example is not None and not texts[-1]:
                raise ConfigError(f"the answers of task.kind {config.task.kind} are not a closed set")
            messages = () if row.example is None else task.messages(row.example)
            requests += [
                Request(f"{number}/{place}", messages, name, response=text) for place, text in enumerate(texts[-1])
            ]
        with reporter.stage("probabilities", len(requests), "answers"):
            responses = {}
            for response in answerer.backend.generate(requests):
                responses[response.id] = response
                reporter.advance()
    finally:
        answerer.close()
    rows: list[Mapping[str, float] | None] = []
    for number, (row, of_row) in enumerate(zip(inputs.rows, texts, strict=True)):
        shares = joint_shares([[responses[f"{number}/{place}"] for place in range(len(of_row))]], of_row)
        choices = () if row.example is None else task.choices(row.example) or ()
        rows.append(dict(zip(choices, shares, strict=True)) if shares else None)
    return rows
