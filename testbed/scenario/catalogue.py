"""What a scenario can name: topologies, applications and servers, read from their source.

Why not import them: a list must be quick, needs no Mininet, and asking for a name must not run what
it names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed import bundled
from testbed.errors import shown
from testbed.scenario.app_names import FORM, app_hint
from testbed.scenario.names import did_you_mean
from testbed.scenario.reading import Finding
from testbed.scenario.servers import MODELS
from testbed.scenario.tables import trace_names, trace_summary

TOPOLOGY_FORMS: Final = "a topology's name or FILE.py:Class"
TARGET_FORMS: Final = "a topology's name, FILE.py:Class or FILE.toml"
_MODULE_ATTRIBUTE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_SIMPLE: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
    "bool": ((bool,), "true or false"),
}


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a topology: a parameter of its `build`."""

    name: str
    kind: str
    """Its annotation as written, or nothing."""
    default: str | None
    """Its default as written; None: it must be given."""

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default}"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a scenario can name."""

    name: str
    summary: str
    """First line of its docstring."""
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True)
class _Class:
    name: str
    summary: str
    options: tuple[Option, ...]
    open: bool
    """Whether it may take options beyond those that can be seen."""


def topologies() -> list[Entry]:
    """The topologies that come with the testbed."""
    found = []
    for name in bundled.names("topologies"):
        path = bundled.folder("topologies") / f"{name}.py"
        classes = _classes(path)
        options = classes[0].options if classes else ()
        found.append(Entry(name, _module_summary(path), options))
    return found


def apps() -> list[Entry]:
    """The applications that come with the testbed."""
    folder = bundled.folder("apps")
    found = {name: _module_summary(folder / f"{name}.py") for name in bundled.names("apps")}
    return [Entry(name, _without_name(summary, name)) for name, summary in found.items()]


def servers() -> list[Entry]:
    """The servers that can run an application."""
    folder = Path(__file__).resolve().parents[1] / "server"
    files = {name: f"{model.module.rpartition('.')[2]}.py" for name, model in MODELS.items()}
    return [Entry(name, _module_summary(folder / file)) for name, file in files.items()]


def traces() -> list[Entry]:
    """The traces of capacity that come with the testbed."""
    return [Entry(name, trace_summary(name)) for name in trace_names()]


def split_target(text: str) -> tuple[Path | None, str]:
    """A topology as (file, class): ``ring.py:Ring`` has both, a short name has no file."""
    file, colon, class_name = text.rpartition(":")
    if colon and file.endswith(".py"):
        return Path(file), class_name
    return (Path(text), "") if text.endswith(".py") else (None, "")


def name_findings(data: Mapping[str, object]) -> list[Finding]:
    """What is wrong with the names in a scenario's table: topology, its options, application."""
    findings = []
    topology, app = data.get("topology"), data.get("app")
    if isinstance(topology, str) and topology:
        options = data.get("topology_options")
        findings += _topology_findings(topology, options if isinstance(options, Mapping) else {})
    if isinstance(app, str) and app:
        findings += _app_findings(app)
    return findings


def _topology_findings(topology: str, options: Mapping[str, object]) -> list[Finding]:
    file, class_name = split_target(topology)
    if file is None:
        known = bundled.names("topologies")
        if topology not in known:
            hint = did_you_mean(topology, known)
            listed = "" if hint else f"; there are {', '.join(known)}"
            return [
                Finding(
                    ("topology",),
                    f"expected {TOPOLOGY_FORMS} (got {shown(topology)}{hint or listed})",
                )
            ]
        classes = _classes(bundled.folder("topologies") / f"{topology}.py")
        return _option_findings(classes[0], options) if classes else []
    return _file_findings(file, class_name, options)


def _file_findings(file: Path, class_name: str, options: Mapping[str, object]) -> list[Finding]:
    try:
        classes = _classes(file)
    except OSError as error:
        return [Finding(("topology",), f"cannot read {file}: {error.strerror}")]
    except (SyntaxError, ValueError) as error:
        return [Finding(("topology",), f"{file} is not valid Python: {error}")]
    names = [found.name for found in classes]
    chosen = next((found for found in classes if found.name == class_name), None)
    if chosen is None and class_name in _bound_names(file):
        return []  # made or imported in a way that only running the file can tell
    if chosen is None:
        listed = f"has {', '.join(names)}" if names else "has no class derived from Topo"
        got = shown(class_name) if class_name else "no class"
        hint = did_you_mean(class_name, names)
        return [
            Finding(
                ("topology",), f"expected FILE.py:Class; {file.name} {listed} (got {got}{hint})"
            )
        ]
    return _option_findings(chosen, options)


def _option_findings(chosen: _Class, options: Mapping[str, object]) -> list[Finding]:
    if chosen.open:
        return []
    findings = []
    known = {option.name: option for option in chosen.options}
    for name, value in options.items():
        path = ("topology_options", f'"{name}"')
        if name not in known:
            listed = f"it has {', '.join(known)}" if known else "it has none"
            hint = did_you_mean(name, known) or f"; {listed}"
            findings.append(Finding(path, f"unknown option of this topology{hint}"))
            continue
        kinds, words = _SIMPLE.get(known[name].kind, ((), ""))
        if kinds and type(value) not in kinds:
            findings.append(Finding(path, f"expected {words} (got {shown(value)})"))
    for name, option in known.items():
        if option.default is None and name not in options:
            findings.append(Finding(("topology_options", f'"{name}"'), "is missing"))
    return findings


def _app_findings(app: str) -> list[Finding]:
    known = bundled.names("apps")
    if app in known or _MODULE_ATTRIBUTE.fullmatch(app):
        return []
    hint = app_hint(app, Path.cwd()) or did_you_mean(app, known)
    hint = hint or f"; there are {', '.join(known)}"
    return [Finding(("app",), f"expected an application's name or {FORM} (got {shown(app)}{hint})")]


def _module_summary(path: Path) -> str:
    """The first line of a module's docstring; nothing where it has none."""
    try:
        docstring = ast.get_docstring(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return ""
    return docstring.partition("\n")[0] if docstring else ""


def _without_name(summary: str, name: str) -> str:
    """``Hello: a short answer.`` without the ``Hello:``, which stands beside it already."""
    head, colon, rest = summary.partition(": ")
    return rest if colon and head.lower() == name.lower() else summary


def _classes(path: Path) -> list[_Class]:
    """The classes of a file that derive from something called ``Topo``, in their order."""
    body = ast.parse(path.read_bytes()).body
    classes = (node for node in body if isinstance(node, ast.ClassDef))
    return [_class(node) for node in classes if any(_is_topo(base) for base in node.bases)]


def _bound_names(path: Path) -> set[str]:
    """Every name that a file may define at its top level, by whatever means."""
    names = set()
    for node in ast.parse(path.read_bytes()).body:
        for part in ast.walk(node):
            if isinstance(part, ast.ClassDef | ast.FunctionDef):
                names.add(part.name)
            elif isinstance(part, ast.alias):
                names.add((part.asname or part.name).partition(".")[0])
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                names.add(part.id)
    return names


def _is_topo(base: ast.expr) -> bool:
    name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
    return str(name).endswith("Topo")


def _class(node: ast.ClassDef) -> _Class:
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    summary = (ast.get_docstring(node) or "").partition("\n")[0]
    build = methods.get("build")
    if build is None or "__init__" in methods or build.args.kwarg:
        return _Class(node.name, summary, _options(build) if build else (), open=True)
    return _Class(node.name, summary, _options(build), open=False)


def _options(build: ast.FunctionDef) -> tuple[Option, ...]:
    positional = [*build.args.posonlyargs, *build.args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(build.args.defaults))
    pairs = list(zip(positional, [*defaults, *build.args.defaults], strict=True))[1:]
    pairs += list(zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True))
    return tuple(
        Option(
            name=argument.arg,
            kind=ast.unparse(argument.annotation) if argument.annotation else "",
            default=ast.unparse(default) if default else None,
        )
        for argument, default in pairs
    )
