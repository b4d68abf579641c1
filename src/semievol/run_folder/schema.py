"""Records as rows of Parquet and Arrow: the columns are the fields of the dataclass, in their order."""

import functools
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pyarrow as pa

_PLAIN: dict[Any, pa.DataType] = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


@functools.cache
def schema_of(record: type) -> pa.Schema:
    """The columns of a dataclass, those of its base class first.

    Text, truth values, numbers (64 bits) and a `Literal` of text are plain columns; a tuple of any length is a list;
    a dataclass or a `TypedDict` is a struct. Any of them may be missing, whether `None` stands in its type or not.

    Raises:
        TypeError: a field is of another type.
    """
    return pa.schema(list(_struct(record)))


def table_of(rows: Sequence[Any], record: type, **columns: Any) -> pa.Table:
    """The dataclass instances as a table with the columns of their class (N rows).

    Args:
        columns: those that are there already, taken as they are: making lists of records anew is most of the time.
    """
    schema = schema_of(record)
    for field in schema:
        if field.name not in columns:
            columns[field.name] = pa.array([_plain(getattr(row, field.name)) for row in rows], field.type)
    return pa.table(columns, schema=schema)


def _struct(record: type) -> pa.StructType:
    names = [field.name for field in fields(record)] if is_dataclass(record) else list(record.__annotations__)
    hints = get_type_hints(record)
    return pa.struct([(name, _type(hints[name], f"{record.__name__}.{name}")) for name in names])


def _type(hint: Any, where: str) -> pa.DataType:
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) and len(inside) == 2 and inside[1] is types.NoneType:
        return _type(inside[0], where)
    if origin is Literal and all(isinstance(value, str) for value in inside):
        return pa.string()
    if origin is tuple and len(inside) == 2 and inside[1] is Ellipsis:
        return pa.list_(_type(inside[0], where))
    if is_dataclass(hint) or is_typeddict(hint):
        return _struct(hint)
    raise TypeError(f"{where}: a column cannot hold {hint}")


def _plain(value: Any) -> Any:
    """A value as Arrow takes it."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    kind: type = type(value)
    if names := _names(kind):
        return {name: _plain(getattr(value, name)) for name in names}
    return value


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    """The fields of a dataclass; none of any other class."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
