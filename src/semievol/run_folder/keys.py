"""Keys: what the result of a stage depends on."""

import json
from collections.abc import Mapping
from typing import Any

INPUTS = frozenset(
    {"warm", "labeled", "unlabeled", "collaborate", "justify", "rows", "start_from", "weights", "selections"}
)
"""Fields of keys that stand for what earlier stages made, and not for a setting."""


def key_text(key: Mapping[str, Any]) -> str:
    """A key as it is written and digested."""
    return json.dumps(key, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def without_revision(key: Mapping[str, Any]) -> dict[str, Any]:
    """What the result depends on, without how often earlier stages have changed their rows."""
    return {name: value for name, value in key.items() if name != "revision"}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """A line for each field that differs, named with a dot between its levels."""
    lines = []
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            lines += differences(before, now, f"{prefix}{name}.")
        elif before != now:
            lines.append(f"{prefix}{name}: was {_short(before)}, is now {_short(now)}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
