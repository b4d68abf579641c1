"""What a practitioner would try before a language model, on the same labeled rows."""

from collections.abc import Callable, Mapping, Sequence

from semievol.config import Config
from semievol.errors import ConfigError
from semievol.records import Example

Answers = list[tuple[str, float]]
"""For each test row the answer and its probability."""


def logistic_regression(config: Config, labeled: Sequence[Example], test: Sequence[Example]) -> Answers:
    """Logistic regression over sentence embeddings of the prompts, C = 10.

    Raises:
        ConfigError: the labeled rows hold one answer only.
    """
    from sklearn.linear_model import LogisticRegression

    from semievol.retrieval.dense import Embedder

    answers = [example.answer for example in labeled]
    if len(set(answers)) < 2:
        raise ConfigError("evaluate.baselines: logistic_regression needs two different answers in the labeled rows")
    embedder = Embedder(config.retrieval.embedder)
    model = LogisticRegression(C=10.0, max_iter=2000).fit(embedder.embed([e.prompt for e in labeled]), answers)
    shares = model.predict_proba(embedder.embed([e.prompt for e in test]))
    return [(str(model.classes_[row.argmax()]), float(row.max())) for row in shares]


BASELINES: Mapping[str, Callable[[Config, Sequence[Example], Sequence[Example]], Answers]] = {
    "logistic_regression": logistic_regression
}
