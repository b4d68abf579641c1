"""docs/configuration.md, made from the config classes.

`python -m semievol.report.reference > docs/configuration.md` writes it.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from semievol.config import PRESETS, TRUSTED_SAMPLES, Config

INTRODUCTION = """\
# Configuration

Every option, its type, its default and what it does. This page is made from the classes in `semievol/config/`:
`python -m semievol.report.reference > docs/configuration.md`. A test fails when the two differ.

A config file is YAML with the sections below. What it leaves out has the default. An unknown option is refused, and
the error names the nearest known one. `--set section.option=value` on the command line overrides the file.

```yaml
output: runs/my-task
data:
  labeled: labeled.csv
  columns: {prompt: question}
training: {num_train_epochs: 4}
```

`semievol config show my-task.yaml` prints the file with every default filled in. `semievol config schema` prints the
JSON schema, for editors. `warmup.training` and `evolve.training` take any option of [training](#training) and change
it for that stage alone.
"""


def reference() -> str:
    """The reference page as Markdown."""
    schema = Config.model_json_schema()
    parts = [INTRODUCTION, *_sections("", schema, schema["$defs"]), _presets()]
    return "\n".join(parts)


def _sections(path: str, section: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """A section's heading and table, then those of the sections in it."""
    below: list[tuple[str, Mapping[str, Any]]] = []
    rows = []
    for name, option in section["properties"].items():
        where = f"{path}.{name}" if path else name
        inner = _section_in(option, definitions)
        if inner is not None:
            below.append((where, inner))
        if inner is None or option.get("type") == "array":
            cells = (f"`{name}`", _type(option, definitions), _default(option), _text(option.get("description", "")))
            rows.append(f"| {' | '.join(cells)} |")
    yield f"## {path or 'Top level'}\n\n{_prose(section.get('description', ''))}\n"
    if rows:
        yield "| option | type | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    for where, inner in below:
        yield from _sections(where, inner, definitions)


def _section_in(option: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    target = option.get("$ref") or option.get("items", {}).get("$ref")
    definition: Mapping[str, Any] | None = definitions[target.rpartition("/")[2]] if target else None
    return definition


def _type(option: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON schema type in words."""
    if "$ref" in option:
        return "section"
    if "enum" in option:
        return ", ".join(f"`{value}`" for value in option["enum"])
    if "const" in option:
        return f"`{option['const']}`"
    if "anyOf" in option:
        # Nothing is a choice to be named only if it is not the default, which says so itself.
        kinds = [kind for kind in option["anyOf"] if kind.get("type") != "null" or option.get("default") is not None]
        return " or ".join(_type(kind, definitions) for kind in kinds)
    kind = option.get("type", "any")
    if kind == "array":
        items = option.get("items", {})
        return "list of sections" if "$ref" in items else f"list of: {_type(items, definitions)}"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    words |= {"object": "mapping", "null": "`null`"}
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {option[bound]:g}" for bound, sign in bounds.items() if bound in option]
    return ", ".join([words.get(kind, kind), *limits])


def _default(option: Mapping[str, Any]) -> str:
    if "default" not in option:
        return "required"
    value = option["default"]
    if value is None or value in ([], {}):
        return "not set" if value is None else "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def _text(description: str) -> str:
    """A description in one line of a table."""
    return " ".join(description.split()).replace("|", "\\|")


def _prose(description: str) -> str:
    return "\n".join(line.strip() for line in description.splitlines())


def _presets() -> str:
    lines = ["## Presets\n", "What `preset` sets before the rest of the file is read.\n"]
    for name, options in PRESETS.items():
        plain = json.loads(json.dumps(options))  # without the anchors that YAML makes of one object used twice
        text = yaml.safe_dump(plain, sort_keys=False) if options else "{}   # the defaults above\n"
        lines.append(f"`{name}`:\n\n```yaml\n{text}```\n")
    samples = yaml.safe_dump(json.loads(json.dumps(TRUSTED_SAMPLES)), sort_keys=False)
    lines.append(f"`trusted` for numbers, free text and services, whose answers are drawn:\n\n```yaml\n{samples}```\n")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(reference())
