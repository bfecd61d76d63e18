"""Structs that check themselves when they are made, with every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Final, get_args, get_origin

import msgspec

from testbed.errors import Problem, QuantityError, ScenarioError, shortened
from testbed.scenario import reading

_RECORDED: Final = ContextVar("_RECORDED", default=False)


@contextmanager
def recorded() -> Iterator[None]:
    """Within it scenarios are taken as they are.

    For those of recordings: they were checked when they were run, and the files that they name may
    be gone since.
    """
    token = _RECORDED.set(True)
    try:
        yield
    finally:
        _RECORDED.reset(token)


class Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A struct that checks itself when it is made."""

    _quantities: ClassVar[Mapping[str, Callable[[str], Any]]] = {}
    """What reads those of its fields that are quantities."""

    def __post_init__(self) -> None:
        if _RECORDED.get():
            return
        found: dict[str, list[Problem]] = {}
        for field in reading.fields_of(type(self)):
            problems = self._problems_of(field)
            if problems:
                found[field.name] = problems
        problems = [problem for each in found.values() for problem in each]
        problems += self._problems(found.keys())
        if problems:
            raise ScenarioError(problems)

    def _problems_of(self, field: msgspec.structs.FieldInfo) -> list[Problem]:
        """What is wrong with one field by itself. A list becomes a tuple where one is wanted."""
        value = getattr(self, field.name)
        parse = self._quantities.get(field.name)
        if parse is not None and value is not None:
            return _complaint(field.name, value, parse)
        if get_origin(field.type) is dict:
            return list(_problems_of_table(field, value))
        try:
            converted = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            return [Problem(field.name, reading.expected(field.type, value))]
        if isinstance(converted, msgspec.Struct) and type(value) is not field.type:
            return [Problem(field.name, reading.expected(field.type, value))]
        if isinstance(converted, tuple):
            msgspec.structs.force_setattr(self, field.name, converted)
        return _unwritable(field.name, value)

    def _problems(self, wrong: Set[str]) -> list[Problem]:
        """What else is wrong; `wrong` are the fields that have a problem already."""
        return []


def _complaint(where: str, text: Any, parse: Callable[[str], Any]) -> list[Problem]:
    try:
        parse(text)
    except QuantityError as error:
        return [Problem(where, str(error))]
    return _unwritable(where, text)


def _problems_of_table(field: msgspec.structs.FieldInfo, table: object) -> Iterator[Problem]:
    """What is wrong with a table whose keys are names that people choose."""
    if not isinstance(table, dict):
        yield Problem(field.name, reading.expected(field.type, table))
        return
    kind = get_args(field.type)[1]
    for name, value in table.items():
        where = f'{field.name}."{name}"'
        try:
            msgspec.convert({name: value}, field.type)
        except msgspec.ValidationError:
            wanted = (kind, value) if isinstance(name, str) else (str, name)
            yield Problem(where, reading.expected(*wanted))
            continue
        yield from _unwritable(where, name)
        yield from _unwritable(where, value)


def _unwritable(where: str, value: object) -> list[Problem]:
    """A text that no file can hold: bytes of a command line that are no UTF-8."""
    for text in value if isinstance(value, tuple | list) else [value]:
        if isinstance(text, str) and not _is_unicode(text):
            return [Problem(where, f"expected text in UTF-8 (got {shortened(text)!a})")]
    return []


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
