"""Whether the evolved model may take SFT's place: that it is not worse beyond noise, on all test rows and each class.

Both models have answered the same test rows. Of the rows that one of them alone has right, the evolved model should
have half or more; it is called worse where it has so few that chance explains it in less than 5 % of the cases (exact
McNemar test). Classes are corrected for their number by the method of Holm: with twenty of them, one would look worse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from semievol.errors import ConfigError, GateError, SemiEvolError
from semievol.metrics import holm
from semievol.report.headline import SURE, Pair, answered_by_both, counted
from semievol.run_folder.folder import RunFolder
from semievol.run_folder.place import reaching
from semievol.stages.select import CLASSES


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
    pairs = answered_by_both(folder, "evolved", "warm")
    if pairs is None:
        raise ConfigError(
            f"{folder.path}: the evolved model and SFT (warm) have not both answered test rows; set data.test, keep "
            "both in evaluate.models, and run semievol evaluate"
        )
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
        with reaching(folder.path):
            list(require_gate(folder))
    except GateError as error:
        return f"{error} (semievol gate); --model warm answers with SFT"
    except SemiEvolError:  # not measured, or its answers cannot be read: new rows were answered all the same
        return None
    return None


def _verdict(name: str, pairs: Sequence[Pair]) -> Verdict:
    return Verdict(name, len(pairs), *counted(pairs))
