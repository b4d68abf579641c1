"""Requests that failed in a run: how many, why, and what becomes of them."""

import re
from collections import Counter

from semievol.run_folder.folder import RunFolder

SHOWN = 3
"""Reasons told of a stage."""


def failure_lines(folder: RunFolder) -> list[str]:
    """A line for each stage with failed requests, and what to do about them; empty if there are none."""
    lines = []
    again = 0
    for round_, stage in folder.stages():
        reasons: Counter[str] = Counter()
        for reason, permanent in stage.failures():
            reasons[re.sub(r"\d+", "N", reason)] += 1
            again += not permanent
        if not reasons:
            continue
        where = stage.name if round_ == 1 else f"{stage.name} of round {round_}"
        counts = "; ".join(f"{count:,} times: {reason}" for reason, count in reasons.most_common(SHOWN))
        remainder = f"; and {len(reasons) - SHOWN} other reasons" if len(reasons) > SHOWN else ""
        lines.append(f"{where}: {reasons.total():,} requests failed: {counts}{remainder}")
    if again:
        lines.append(f"The same command asks again for {again:,} of them; later stages follow where that changes them.")
    elif lines:
        lines.append("They would fail again, and are not asked again.")
    return lines
