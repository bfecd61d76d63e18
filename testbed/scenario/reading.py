"""Plain tables (from TOML, from options) made into scenario types, with every problem at once.

Rules:

- The types in `testbed.scenario.model` are the only list of keys: fields, tables and their kinds
  are read off them.
- Each value is converted on its own; whatever is readable is then given to the type's own checks,
  so that one bad value hides no other.
- Problems come in the order of the data; keys that are missing come last.
- Nothing is executed and nothing is trusted: whatever a table holds becomes a finding or a value.

Why not one `msgspec.convert` of the whole: it stops at the first problem.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Final, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from testbed.errors import Problem, QuantityError, ScenarioError, shown
from testbed.scenario.names import did_you_mean

S = TypeVar("S", bound=msgspec.Struct)

_WORDS: Final[Mapping[object, str]] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}
_STAND_IN: Final = "?"
"""Value of a required key that is missing, so that the checks of the other keys can run."""


@functools.cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a struct, kept: msgspec evaluates their annotations anew each time."""
    return msgspec.structs.fields(kind)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with its place as a path of keys."""

    path: tuple[str, ...]
    """Names that people chose stand in double quotes: ``("links", '"r1-server"', "capacity")``."""
    message: str

    def as_problem(self) -> Problem:
        """The same with its place as a path in a file: ``links."r1-server".capacity``."""
        return Problem(".".join(self.path), self.message)


@dataclass(frozen=True, slots=True)
class Reading(Generic[S]):
    """What could be made of a table."""

    value: S | None
    """None where there are findings."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Failed:
    """A value that could not be read, and why."""

    findings: tuple[Finding, ...]


def read(kind: type[S], data: Mapping[str, object], *, from_text: bool = False) -> Reading[S]:
    """Makes a `kind` of a table.

    Args:
        kind: the struct to make.
        data: keys and values as they were found.
        from_text: values are words of a command line, where "4" is a number too.
    """
    outcome = _struct(kind, data, (), from_text)
    if isinstance(outcome, _Failed):
        return Reading(None, outcome.findings)
    return Reading(outcome, ())


def _struct(kind: type[S], data: object, path: tuple[str, ...], from_text: bool) -> S | _Failed:
    if type(data) is kind:
        return data
    table_of = getattr(kind, "table_of", None)
    if isinstance(data, str) and table_of is not None:
        try:
            data = table_of(data)
        except QuantityError as error:
            return _Failed((Finding(path, str(error)),))
    if not isinstance(data, Mapping):
        text = " or a text such as loss 2%, delay 5ms" if table_of else ""
        return _Failed((Finding(path, f"expected a table{text} (got {shown(data)})"),))
    fields = {field.encode_name: field for field in fields_of(kind)}
    good: dict[str, Any] = {}
    found: dict[str, tuple[Finding, ...]] = {}
    for key, value in data.items():
        if key not in fields:
            name = str(key)
            found[name] = (Finding((*path, name), _unknown(name, kind)),)
            continue
        outcome = _value(kind, key, fields[key].type, value, (*path, key), from_text)
        if isinstance(outcome, _Failed):
            found[key] = outcome.findings
        else:
            good[key] = outcome
    made, complaints = _make(kind, good)
    for problem in complaints:
        key = re.split(r"[.\[]", problem.where)[0]
        found[key] = (*found.get(key, ()), Finding((*path, problem.where), problem.message))
    for name, field in fields.items():
        if field.required and name not in data:
            found[name] = (Finding((*path, name), "is missing"),)
    if made is not None and not found:
        return made
    order = {str(key): place for place, key in enumerate(data)}
    keys = sorted(found, key=lambda key: order.get(key, len(order)))
    return _Failed(tuple(finding for key in keys for finding in found[key]))


def _make(kind: type[S], good: Mapping[str, Any]) -> tuple[S | None, tuple[Problem, ...]]:
    """The struct from the values that could be read, and what its own checks say about them."""
    lacking = {
        field.name: _STAND_IN
        for field in fields_of(kind)
        if field.required and field.encode_name not in good
    }
    try:
        return kind(**lacking, **good), ()
    except ScenarioError as error:
        return None, tuple(problem for problem in error.problems if problem.where not in lacking)


def _value(
    owner: type[msgspec.Struct] | None,
    key: str,
    kind: Any,
    value: object,
    path: tuple[str, ...],
    from_text: bool,
) -> Any:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind, value, path, from_text)
    if get_origin(kind) is dict:
        return _named(get_args(kind)[1], value, path, from_text)
    takes_text = str in _choices(kind)
    try:
        return msgspec.convert(value, kind, strict=not (from_text and not takes_text))
    except msgspec.ValidationError:
        message = (_own_words(owner, key, value) if owner else "") or expected(kind, value)
        return _Failed((Finding(path, message),))


def _named(
    kind: Any, table: object, path: tuple[str, ...], from_text: bool
) -> dict[str, Any] | _Failed:
    """A table whose keys are names that people choose."""
    if not isinstance(table, Mapping):
        return _Failed((Finding(path, f"expected a table (got {shown(table)})"),))
    good: dict[str, Any] = {}
    findings: list[Finding] = []
    for name, value in table.items():
        outcome = _value(None, "", kind, value, (*path, f'"{name}"'), from_text)
        if isinstance(outcome, _Failed):
            findings += outcome.findings
        else:
            good[str(name)] = outcome
    return _Failed(tuple(findings)) if findings else good


def _choices(kind: Any) -> tuple[Any, ...]:
    """The members of a union, None left out; otherwise the kind itself."""
    if get_origin(kind) not in (Union, UnionType):
        return (kind,)
    return tuple(choice for choice in get_args(kind) if choice is not NoneType)


def _own_words(owner: type[msgspec.Struct], key: str, value: object) -> str:
    """What the type's own check says of a value of the wrong kind.

    It knows more than the kind does: ``capacity = 10`` is no text, but above all it lacks a unit.
    """
    _, complaints = _make(owner, {key: value})
    return next((problem.message for problem in complaints if problem.where == key), "")


def expected(kind: Any, value: object) -> str:
    """What to say of a value of the wrong kind: what was expected, and what was got."""
    words = []
    for choice in _choices(kind):
        if get_origin(choice) is Literal:
            words += [f'"{one}"' if isinstance(one, str) else str(one) for one in get_args(choice)]
        elif get_origin(choice) is tuple:
            words.append("a list of texts")
        elif get_origin(choice) is dict:
            words.append("a table")
        else:
            words.append(_WORDS.get(choice) or f"a {choice.__name__}")
    text = " or ".join(", ".join(words).rsplit(", ", 1))
    hint = ""
    if isinstance(value, str):
        literals = (choice for choice in _choices(kind) if get_origin(choice) is Literal)
        names = [one for choice in literals for one in get_args(choice) if isinstance(one, str)]
        hint = did_you_mean(value, names)
    return f"expected {text} (got {shown(value)}{hint})"


def _unknown(key: str, kind: type[msgspec.Struct]) -> str:
    """What to say of a key that is none: where it belongs, or what was meant."""
    fields = fields_of(kind)
    for field in fields:
        inner = field.type
        is_table = isinstance(inner, type) and issubclass(inner, msgspec.Struct)
        if is_table and key in inner.__struct_fields__:
            return f"unknown key; it belongs in [{field.name}]"
    return f"unknown key{did_you_mean(key, [field.encode_name for field in fields])}"
