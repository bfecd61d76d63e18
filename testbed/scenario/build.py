"""A scenario from a target and flat options, as the command line and the pytest fixture give them.

Option names are the fields of `Scenario`, `Load` and `Link` in one row; options given override
those of a scenario file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from testbed.errors import Problem, QuantityError, ScenarioError, shown
from testbed.scenario.catalogue import TARGET_FORMS, TOPOLOGY_FORMS, name_findings
from testbed.scenario.file import load_table
from testbed.scenario.load_notation import split_mix
from testbed.scenario.model import DIRECTIONS, Link, Scenario
from testbed.scenario.names import did_you_mean
from testbed.scenario.nodes import NodeSettings
from testbed.scenario.reading import Finding, read

Spelling = Literal["command line", "python"]
_ANY: Final = "?"
"""A topology for reading options alone."""


def _tables() -> dict[str, type[msgspec.Struct]]:
    """The fields of Scenario that are tables of options."""
    return {
        field.name: field.type
        for field in msgspec.structs.fields(Scenario)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    }


def option_names() -> dict[str, tuple[str, ...]]:
    """Every option and its path in a scenario: ``{"loss": ("link", "loss"), ...}``."""
    tables = _tables()
    paths: dict[str, tuple[str, ...]] = {
        name: (name,)
        for name in Scenario.__struct_fields__
        if name not in tables and name != "topology"
    }
    for table, kind in tables.items():
        for name in kind.__struct_fields__:
            if name in paths:
                raise AssertionError(f"two options are called {name}")
            paths[name] = (table, name)
    return paths


def build_scenario(
    target: str | Path, options: Mapping[str, object], *, spelling: Spelling = "python"
) -> Scenario:
    """The scenario that a target and options describe.

    Args:
        target: a topology's name, ``FILE.py:Class``, or ``FILE.toml``.
        options: by the names of `option_names`; None means not given.
        spelling: how the user wrote the options: ``--loss`` or ``loss=``. On a command line values
            are text.

    Raises:
        ScenarioError: with every problem of the file and of the options, each at the place where
            the user wrote it.
    """
    text = str(target)
    file = Path(text) if text.endswith(".toml") else None
    table = load_table(file) if file else {"topology": text}
    given, problems = _nested(options, spelling)

    base = read(Scenario, table)
    chosen = read(Scenario, {"topology": _ANY, **given}, from_text=spelling == "command line")
    in_file = []
    for finding in base.findings:
        if file:
            in_file.append(finding.as_problem())
        else:
            problems.append(_as_typed(finding, spelling, target=True))
    problems += [_as_typed(finding, spelling) for finding in chosen.findings]
    for finding in name_findings(_merged(table, given)):
        if _holds(given, finding.path):
            problems.append(_as_typed(finding, spelling))
        elif file:
            in_file.append(finding.as_problem())
        else:
            about_target = finding.path == ("topology",)
            place = 0 if about_target else len(problems)
            problems.insert(place, _as_typed(finding, spelling, target=about_target))
    if in_file or problems or base.value is None or chosen.value is None:
        raise _error(in_file, problems, file)
    return _over(base.value, chosen.value, given)


def _nested(
    options: Mapping[str, object], spelling: Spelling
) -> tuple[dict[str, Any], list[Problem]]:
    """The options as the tables of a scenario, and what is wrong with their names."""
    paths = option_names()
    given: dict[str, Any] = {}
    problems = []
    for name, value in options.items():
        # A command line's option that may be repeated is an empty list when it is not given.
        if value is None or (spelling == "command line" and value in ([], ())):
            continue
        if name not in paths:
            where = _option(name, spelling)
            problems.append(Problem(where, f"unknown option{did_you_mean(name, paths)}"))
            continue
        if spelling == "command line" and name in _PAIRS:
            value, wrong = _PAIRS[name](value)
            problems += wrong
        *tables, key = paths[name]
        table = given
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = value
    return given, problems


def _pairs(texts: object) -> tuple[dict[str, object], list[Problem]]:
    """``NAME=VALUE`` of a command line as a table; VALUE is a number, true, false, or text."""
    values: dict[str, object] = {}
    problems = []
    for text in texts if isinstance(texts, list | tuple) else [texts]:
        name, equals, value = str(text).partition("=")
        if not equals or not name.isidentifier():
            message = f"expected NAME=VALUE (got {shown(str(text))})"
            problems.append(Problem("--topology-option", message))
        elif name in values:
            message = f"expected each name once (got {name} twice)"
            problems.append(Problem("--topology-option", message))
        else:
            values[name] = _plain(value)
    return values, problems


def _links(texts: object) -> tuple[dict[str, object], list[Problem]]:
    """``LINK: SETTINGS`` or ``LINK.forward: SETTINGS`` of a command line as tables by link."""
    tables: dict[str, Any] = {}
    problems = []
    for text in texts if isinstance(texts, list | tuple) else [texts]:
        place, colon, settings = (part.strip() for part in str(text).partition(":"))
        name, dot, direction = place.rpartition(".")
        if not dot or direction not in DIRECTIONS:
            name, direction = place, ""
        if not colon or not name:
            message = f"expected LINK: SETTING VALUE, ... (got {shown(str(text))})"
            problems.append(Problem("--links", message))
            continue
        try:
            table = Link.table_of(settings)
        except QuantityError as error:
            problems.append(Problem(f"--links {place}", str(error)))
            continue
        link = tables.setdefault(name, {})
        target = link.setdefault(direction, {}) if direction else link
        twice = [setting for setting in table if setting in target]
        if twice:
            message = f"expected each setting once (got {', '.join(twice)} twice)"
            problems.append(Problem(f"--links {place}", message))
        target.update(table)
    return tables, problems


def _nodes(texts: object) -> tuple[dict[str, object], list[Problem]]:
    """``NODE: SETTINGS`` of a command line as tables by node."""
    tables: dict[str, Any] = {}
    problems = []
    for text in texts if isinstance(texts, list | tuple) else [texts]:
        name, colon, settings = (part.strip() for part in str(text).partition(":"))
        if not colon or not name:
            message = f"expected NODE: SETTING VALUE, ... (got {shown(str(text))})"
            problems.append(Problem("--nodes", message))
            continue
        try:
            table = NodeSettings.table_of(settings)
        except QuantityError as error:
            problems.append(Problem(f"--nodes {name}", str(error)))
            continue
        sysctls = table.pop("sysctls", {})
        node = tables.setdefault(name, {})
        known = node.setdefault("sysctls", {})
        twice = [*(node.keys() & table), *(known.keys() & sysctls)]
        if twice:
            message = f"expected each setting once (got {', '.join(twice)} twice)"
            problems.append(Problem(f"--nodes {name}", message))
        node.update(table)
        known.update(sysctls)
    return tables, problems


def _plain(text: str) -> int | float | bool | str:
    for kind in (int, float, bool):
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            continue
    return text


def _texts(texts: object) -> tuple[object, list[Problem]]:
    """``SETTING VALUE, ...`` given several times, as one text.

    A setting that comes twice is an error of that text.
    """
    if not isinstance(texts, list | tuple):
        return texts, []
    return ", ".join(str(text) for text in texts), []


def _mix(texts: object) -> tuple[object, list[Problem]]:
    """Kinds of requests of a command line, given several times or with commas between them."""
    if not isinstance(texts, list | tuple):
        return texts, []
    return [kind for text in texts for kind in split_mix(str(text))], []


_PAIRS: Final[Mapping[str, Callable[[object], tuple[object, list[Problem]]]]] = {
    "topology_options": _pairs,
    "links": _links,
    "nodes": _nodes,
    "forward": _texts,
    "reverse": _texts,
    "mix": _mix,
}
"""What reads options of a command line that may be repeated."""


def _merged(table: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """The table with the options over it, tables key by key."""
    merged = dict(table)
    for key, value in given.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = {**below, **value}
        else:
            merged[key] = value
    return merged


def _over(base: Scenario, chosen: Scenario, given: Mapping[str, Any]) -> Scenario:
    """The scenario `base` with those fields of `chosen` that were given."""
    changes: dict[str, Any] = {}
    tables = _tables()
    for key in given:
        below, above = getattr(base, key), getattr(chosen, key)
        if key in tables:
            if isinstance(above, Link):
                changes[key] = above.merged_over(below)
            else:
                fields = {name: getattr(above, name) for name in given[key]}
                changes[key] = msgspec.structs.replace(below, **fields)
        elif key == "links":
            merged = {
                name: link.merged_over(below.get(name, Link())) for name, link in above.items()
            }
            changes[key] = {**below, **merged}
        elif key == "nodes":
            over = {
                name: node.over(below.get(name, NodeSettings())) for name, node in above.items()
            }
            changes[key] = {**below, **over}
        elif isinstance(above, dict):
            changes[key] = {**below, **above}
        else:
            changes[key] = above
    return msgspec.structs.replace(base, **changes)


def _holds(given: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    """Whether an option was given that makes up this place."""
    value: Any = given
    for part in path:
        key = part.strip('"')
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _option(name: str, spelling: Spelling) -> str:
    if spelling == "python":
        return f"{name}="
    return "--topology-option" if name == "topology_options" else f"--{name.replace('_', '-')}"


def _as_typed(finding: Finding, spelling: Spelling, *, target: bool = False) -> Problem:
    """A finding with its place as the user typed it."""
    if target:
        message = finding.message.replace(TOPOLOGY_FORMS, TARGET_FORMS, 1)
        return Problem("TARGET" if spelling == "command line" else "topology", message)
    by_path = {path: name for name, path in option_names().items()}
    path = tuple(re.sub(r"\[\d+\]$", "", part) for part in finding.path)
    for length in range(len(path), 0, -1):
        name = by_path.get(path[:length])
        if name is not None:
            below = ".".join(finding.path[length:])
            where = _option(name, spelling)
            if spelling == "command line":
                return Problem(f"{where} {below.replace(chr(34), '')}".strip(), finding.message)
            return Problem(f"{name}[{below}]" if below else where, finding.message)
    return finding.as_problem()


def _error(in_file: list[Problem], problems: list[Problem], file: Path | None) -> ScenarioError:
    if not problems:
        return ScenarioError(in_file, source=str(file))
    placed = [Problem(f"{file}: {problem.where}", problem.message) for problem in in_file]
    return ScenarioError([*placed, *problems])
