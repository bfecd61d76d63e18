"""Scenario files: TOML.

    topology = "dumbbell"            # or "mytopo.py:Ring", relative to this file
    app = "stream"
    seed = 7

    [topology_options]
    n = 3

    [load]
    users = 4
    requests = 200

    [link]                           # the links that the topology marks as bottleneck
    capacity = "10mbit"

    [links."r1-server"]              # one link by its name
    loss = "2%"

    [links."r1-server".forward]      # one direction of it: from r1 to server
    loss = "4%"

The keys are the fields of `Scenario`, `Load` and `Link`. The settings of a link may stand in one
text as well: ``forward = "loss 4%, delay 5ms"``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from testbed.errors import Problem, ScenarioError
from testbed.scenario.catalogue import name_findings, split_target
from testbed.scenario.model import Scenario
from testbed.scenario.reading import read
from testbed.scenario.tables import is_file
from testbed.scenario.words import QUOTED, quoted, unquoted

_MAX_BYTES: Final = 10_000_000


def read_scenario(path: Path) -> Scenario:
    """The scenario in a TOML file.

    A topology of the form ``FILE.py:Class`` is relative to the file; in the result it is absolute.

    Raises:
        ScenarioError: the file cannot be read, is no TOML, or has problems (all of them at once).
    """
    table = load_table(path)
    reading = read(Scenario, table)
    findings = [*reading.findings, *name_findings(table)]
    if findings or reading.value is None:
        raise ScenarioError([finding.as_problem() for finding in findings], source=str(path))
    return reading.value


def load_table(path: Path) -> dict[str, object]:
    """What a TOML file says, its values unchecked.

    Raises:
        ScenarioError: the file cannot be read or is no TOML.
    """
    return _anchored(_parse(path), path.parent)


def _parse(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            message = f"expected at most {_MAX_BYTES // 10**6} MB (got more)"
            raise ScenarioError([Problem("", message)], source=str(path))
        return tomllib.loads(data.decode())
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScenarioError(
            [Problem("", f"cannot read this scenario file: {reason}")], source=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise ScenarioError(
            [Problem(f"byte {error.start + 1}", "TOML is UTF-8, and this is not")],
            source=str(path),
        ) from error
    except RecursionError as error:
        raise ScenarioError(
            [Problem("", "not valid TOML: too many brackets in one another")], source=str(path)
        ) from error
    except ValueError as error:  # TOMLDecodeError, and what Python refuses to make a number of
        raise ScenarioError([_syntax_problem(str(error))], source=str(path)) from error


def _syntax_problem(message: str) -> Problem:
    """The place first, which tomllib puts at the end: ``... (at line 3, column 5)``."""
    match = re.fullmatch(r"(.*) \(at (.*)\)", message, re.DOTALL)
    text, place = (match[1], match[2]) if match else (message, "")
    return Problem(place, f"not valid TOML: {text}")


def _anchored(data: Mapping[str, object], folder: Path) -> dict[str, object]:
    """The same with relative files that it names seen from `folder`."""
    data = {
        key: _anchored_files(value, folder) if key in ("link", "links") else value
        for key, value in data.items()
    }
    environment = data.get("app_environment")
    if isinstance(environment, str) and not environment.startswith(("/", "~")):
        data = {**data, "app_environment": str((folder / environment).absolute())}
    load = data.get("load")
    if isinstance(load, Mapping) and "arrivals" in load:
        data["load"] = {**load, "arrivals": _anchored_files(load["arrivals"], folder)}
    topology = data.get("topology")
    if not isinstance(topology, str):
        return dict(data)
    file, class_name = split_target(topology)
    if file is None or file.is_absolute():
        return dict(data)
    place = (folder / file).resolve()
    return {**data, "topology": f"{place}:{class_name}" if class_name else str(place)}


def _anchored_files(value: object, folder: Path) -> object:
    """Settings of links with ``trace FILE`` and ``table FILE`` seen from `folder`.

    A word without a slash may be the name of a trace as well: it is a file where there is one.
    """
    if isinstance(value, Mapping):
        return {key: _anchored_files(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_anchored_files(inner, folder) for inner in value]
    if not isinstance(value, str):
        return value

    def anchored(match: re.Match[str]) -> str:
        name = unquoted(match[2])
        if name.startswith(("~", "/")) or not ("/" in name or is_file(folder / name)):
            return match[0]
        return f"{match[1]} {quoted(str((folder / name).absolute()))}"

    return re.sub(rf"\b(trace|table)\s+({QUOTED}|[^\s,\"]+)", anchored, value)


def as_toml(scenario: Scenario) -> str:
    """The scenario as a file that `read_scenario` reads back; defaults are left out."""
    lines: list[str] = []
    tables: list[tuple[str, dict[str, Any]]] = []
    for name, value in _changed(scenario).items():
        if name in ("links", "nodes"):
            for key, settings in value.items():
                tables += _tables(f"{name}.{_toml(key)}", settings)
        elif isinstance(value, msgspec.Struct):
            tables += _tables(name, value)
        elif isinstance(value, dict):
            tables.append((name, value))
        else:
            lines.append(f"{name} = {_toml(value)}")
    for title, table in tables:
        lines += [
            "",
            f"[{title}]",
            *(f"{_key(key)} = {_toml(value)}" for key, value in table.items()),
        ]
    return "\n".join(lines) + "\n"


def _tables(title: str, struct: msgspec.Struct) -> list[tuple[str, dict[str, Any]]]:
    """A struct as a table, and those in it as tables of their own."""
    values = _changed(struct)
    kinds = (msgspec.Struct, dict)
    below = {key: value for key, value in values.items() if isinstance(value, kinds)}
    own = {key: value for key, value in values.items() if key not in below}
    tables = [(title, own)] if own or not below else []
    for key, value in below.items():
        inner = f"{title}.{key}"
        tables += [(inner, value)] if isinstance(value, dict) else _tables(inner, value)
    return tables


def _changed(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields of a struct that are not at their defaults."""
    fields = msgspec.structs.fields(struct)
    values = {field.name: (getattr(struct, field.name), field) for field in fields}
    return {
        name: value
        for name, (value, field) in values.items()
        if value is not None and value != {} and (field.required or value != field.default)
    }


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """A value as TOML writes it; its basic strings are those of JSON but for the DEL character."""
    if isinstance(value, str):
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
