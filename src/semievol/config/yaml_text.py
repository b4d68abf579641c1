"""YAML as a person means it: `yes` is a word, 010 is no octal, and an option that stands twice is an error."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from semievol.errors import ConfigError, first_line

MOST_PARTS = 1_000_000
"""Values of a config; a longer one is a bomb of anchors."""


def parsed(text: str, source: str) -> Any:
    """What the text says; `None` if it is blank.

    `true` and `false`, whole numbers, decimals and `null` are what they look like; all else is text.

    Raises:
        ConfigError: it is no YAML, a key stands twice in one section, of which both lines are named, or it holds
            more than a config can.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
        if _parts(content, {}) > MOST_PARTS:
            raise ConfigError(f"{source}: with its anchors repeated, it has more than {MOST_PARTS:,} values")
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    except _Twice as twice:
        raise ConfigError(f"{source}: {twice}") from None
    except RecursionError:
        raise ConfigError(f"{source}: not valid YAML: it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:  # a tag, on what it cannot stand for
        raise ConfigError(f"{source}: not valid YAML: {first_line(error)}") from error
    return content


def _parts(content: Any, counted: dict[int, int]) -> int:
    """How many values it holds if what stands in several places is counted in each; those `counted` by identity."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in counted:
        counted[id(content)] = MOST_PARTS  # of one that holds itself
        values = content.values() if isinstance(content, dict) else content
        counted[id(content)] = 1 + sum(_parts(value, counted) for value in values)
    return counted[id(content)]


def written(content: Any) -> str:
    """The content as YAML that `parsed` reads back as the same."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Twice(Exception):
    """A key that stands twice."""


class _Loader(yaml.SafeLoader):
    """Resolves the scalars of YAML 1.2's core schema, whose words are few."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            name, line = key.value, key.start_mark.line + 1
            if isinstance(name, str) and key.tag != "tag:yaml.org,2002:merge":
                if name in lines:
                    raise _Twice(f"{name!r} stands twice, on lines {lines[name]} and {line}; join the two")
                lines[name] = line
        return super().construct_mapping(node, deep)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = _Decimal(super().construct_yaml_float(node))
        value.text = node.value
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = _Whole(node.value)
        value.text = node.value
        return value


class _Written:
    """A number that knows how it was written, for an option that is text: the labels +1 and 1.50."""

    text: str

    def __str__(self) -> str:
        return self.text


class _Whole(_Written, int):
    pass


class _Decimal(_Written, float):
    pass


class _Dumper(yaml.SafeDumper):
    """Quotes every text that this or another reader of YAML would take for something else."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_DECIMAL = r"\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?"
for _tag, _pattern, _starts in (
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", [*"-+0123456789"]),
    ("float", rf"[-+]?(?:{_DECIMAL})(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf)|\.nan", [*"-+.0123456789"]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", ["<"]),
):
    for _resolves in (_Loader, _Dumper):
        _resolves.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _starts)
