"""Whether the evolved model may take SFT's place: that it is not worse beyond noise, on all test rows and each class.

Both models have answered the same test rows. Of the rows that one of them alone has right, the evolved model should
have half or more; it is called worse where it has so few that chance explains it in less than 5 % of the cases (exact
McNemar test). Classes are corrected for their number by the method of Holm: with twenty of them, one would look worse.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from semievol.errors import ConfigError, GateError
from semievol.metrics import holm, mcnemar
from semievol.report.headline import SURE
from semievol.run_folder.files import read_rows
from semievol.run_folder.folder import RunFolder

CLASSES = 50
"""With more true answers than that there are no classes, but free answers."""


@dataclass(frozen=True)
class Verdict:
    """The evolved model against SFT on some test rows."""

    name: str
    """`all rows`, or the true answer."""
    rows: int
    ahead: int
    """Rows that the evolved model alone has right."""
    behind: int
    """Rows that SFT alone has right."""
    p: float
    """Of the hypothesis that neither is better; that of a class is corrected for the number of classes."""

    @property
    def is_worse(self) -> bool:
        """Whether the evolved model is worse beyond noise."""
        return self.behind > self.ahead and self.p < SURE

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.rows} test rows): {'worse' if self.is_worse else 'not worse'}; right alone: evolved "
            f"{self.ahead}, SFT {self.behind} (p = {self.p:.3f})"
        )


def verdicts(folder: RunFolder) -> list[Verdict]:
    """Of all test rows first, then of each true answer, in its alphabet.

    Raises:
        ConfigError: the run has not measured both models.
    """
    paths = [folder.stage("evaluate").answers_path(model) for model in ("evolved", "warm")]
    if not all(path.exists() for path in paths):
        raise ConfigError(
            f"{folder.path}: the evolved model and SFT (warm) have not both answered test rows; set data.test, keep "
            "both in evaluate.models, and run semievol evaluate"
        )
    evolved, warm = (read_rows(path) for path in paths)
    right_of = {row["id"]: bool(row["right"]) for row in warm}
    pairs = [(row["truth"], bool(row["right"]), right_of[row["id"]]) for row in evolved]
    names = sorted({truth for truth, _, _ in pairs})
    if len(names) > CLASSES:
        names = []
    of_classes = [_verdict(name, [pair for pair in pairs if pair[0] == name]) for name in names]
    corrected = holm([verdict.p for verdict in of_classes])
    return [
        _verdict("all rows", pairs),
        *(Verdict(v.name, v.rows, v.ahead, v.behind, p) for v, p in zip(of_classes, corrected, strict=True)),
    ]


def require_gate(folder: RunFolder) -> Iterator[str]:
    """A line for each verdict, then nothing if the evolved model is nowhere worse.

    Raises:
        GateError: it is; after all lines.
        ConfigError: the run has not measured both models.
    """
    every = verdicts(folder)
    yield from map(str, every)
    if worse := [verdict.name for verdict in every if verdict.is_worse]:
        raise GateError(f"the evolved model is worse than SFT beyond noise: {', '.join(worse)}")


def warning(folder: RunFolder) -> str | None:
    """What a user of the evolved model should know; `None` if it passes, or if nobody can tell."""
    try:
        list(require_gate(folder))
    except GateError as error:
        return f"{error} (semievol gate); --model warm answers with SFT"
    except ConfigError:
        return None
    return None


def _verdict(name: str, pairs: list[tuple[str, bool, bool]]) -> Verdict:
    ahead = sum(evolved and not warm for _, evolved, warm in pairs)
    behind = sum(warm and not evolved for _, evolved, warm in pairs)
    return Verdict(name, len(pairs), ahead, behind, mcnemar(ahead, behind))
