"""What came of the faults of one kind."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """How often each verdict was given, and an example of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, verdict: str, example: str = "") -> None:
        self.counts[verdict] += 1
        examples = self.examples.setdefault(verdict, [])
        if example and len(examples) < 5:
            examples.append(example)

    def of(self, *verdicts: str) -> int:
        """How many had one of these verdicts."""
        return sum(self.counts[verdict] for verdict in verdicts)

    @property
    def tried(self) -> int:
        return self.counts.total()

    def as_dict(self) -> dict[str, Any]:
        return {"tried": self.tried, **dict(sorted(self.counts.items()))}

    def why(self, *verdicts: str) -> str:
        """Examples of verdicts that should not be, for a test that fails."""
        return "\n".join(f"{name}: {example}" for name in verdicts for example in self.examples.get(name, []))
