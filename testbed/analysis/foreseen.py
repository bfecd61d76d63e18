"""What of an expectation can be known to be wrong before there is a run.

Rules:

- The names are those of the types of summary.json, of `figure_names` and of the planned links, and
  are looked up as they are in a summary: what is refused here would fail there, in the same words.
- What depends on the run (what it counted by name, which layers it observed) is left to it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from testbed.analysis.expectations import COUNTS, look_up, not_single
from testbed.analysis.figure_names import FIGURES
from testbed.analysis.summary import Layer, Summary
from testbed.errors import Problem, ScenarioError
from testbed.scenario.expectation import PARTS, parse_expectation

_ANYTHING: Final = None
"""In place of what has names that only the run knows."""
_ONE: Final = 0
"""In place of a single figure; one with few possible values has these in its place."""


def check_expectations(texts: Iterable[str], links: Iterable[str]) -> None:
    """Refuses expectations of figures that no run of a scenario can have.

    Args:
        texts: as `parse_expectation` reads them.
        links: the names of the planned links.

    Raises:
        ScenarioError: with each of them.
    """
    known = foreseen(links)
    problems = [
        Problem(f"expect[{number}]", f'{why} (in "{text}")')
        for number, text in enumerate(texts)
        if (why := _wrong(text, known))
    ]
    if problems:
        raise ScenarioError(problems)


def foreseen(links: Iterable[str]) -> dict[str, Any]:
    """Everything that a summary can have, with `_ONE` for figures and `_ANYTHING` for the rest."""
    hints = typing.get_type_hints(Summary)
    known = {part: _shape(hints[part]) for part in PARTS}
    direction = _values(hints["links"])
    known["links"] = {name: _shape(direction) for name in links}
    known["layers"] = {name: _layer(aspects) for name, aspects in FIGURES.items()}
    return known


def _wrong(text: str, known: Mapping[str, Any]) -> str:
    """What is wrong with an expectation; empty: nothing that could be known."""
    rule = parse_expectation(text)
    try:
        found = look_up(rule.figure, known)
    except LookupError as error:
        return str(error.args[0])
    if isinstance(found, Mapping | list):
        return not_single(found)
    if isinstance(found, tuple) and rule.value not in found:
        return f"{rule.figure} is one of {', '.join(map(str, found))} (got {rule.value})"
    return ""


def _layer(aspects: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    own = _shape(Layer)
    tables: dict[str, Any] = {
        aspect: {name: {} if name in COUNTS else _ONE for name in names}
        for aspect, names in aspects.items()
    }
    return {"status": own["status"], "reason": own["reason"], **tables}


def _shape(kind: Any) -> Any:
    """What may stand in a summary at a place of this type."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        whole = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return _shape(whole[0]) if len(whole) == 1 else _ONE
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    if typing.get_origin(kind) is list:
        return []
    if typing.get_origin(kind) is dict:
        return _table(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return {
            name: {} if name in COUNTS else _shape(hint)
            for name, hint in hints.items()
            if name in kind.__struct_fields__
        }
    return _ONE


def _table(kind: Any) -> Any:
    """A table whose names are known, or `_ANYTHING`."""
    names, values = typing.get_args(kind)
    if typing.get_origin(names) is not Literal:
        return _ANYTHING
    return {name: _shape(values) for name in typing.get_args(names)}


def _values(kind: Any) -> Any:
    return typing.get_args(kind)[1]
