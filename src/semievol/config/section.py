"""What every section of the config is built from."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the config: frozen, unknown keys refused, help taken from the docstring under each field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, coerce_numbers_to_str=True)


def explain(error: ValidationError, root: type[BaseModel], prefix: str = "") -> str:
    """A validation error in the user's words, one line per option."""
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        where = ".".join(([prefix] if prefix else []) + path)
        if item["type"] == "extra_forbidden":
            names = _options_at(root, path[:-1])
            near = difflib.get_close_matches(path[-1], names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(names)}"
            lines.append(f"{where}: unknown option; {hint}")
        elif item["type"] == "value_error":
            lines.append(f"{where + ': ' if where else ''}{item['ctx']['error']}")
        else:
            quote = "; quote it" if item["type"] == "string_type" and isinstance(item["input"], bool | None) else ""
            found_there = "" if where.endswith("api_key_env") else f" (found {item['input']!r}{quote})"  # perhaps a key
            lines.append(f"{where}: {item['msg']}{found_there}")
    return "\n  ".join(lines)


def _options_at(root: type[BaseModel], path: Sequence[str]) -> list[str]:
    section: type[BaseModel] = root
    for part in path:
        if part not in section.model_fields:
            continue  # an index into a list
        annotation: Any = section.model_fields[part].annotation
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                section = candidate
    return list(section.model_fields)
