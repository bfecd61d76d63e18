"""Finds a topology and makes its Mininet `Topo`.

A target is the short name of a file in topologies/ (its `TOPOLOGY`, or its only `Topo` class) or
``FILE.py:Class``. Options are the keyword arguments of the `Topo`, as in ``mn --topo
name,key=value``.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from testbed import bundled
from testbed.errors import Interrupted, Problem, ScenarioError
from testbed.scenario.names import did_you_mean

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mininet 2.3 imports distutils and has invalid escapes
    from mininet import topo as mininet_topo
    from mininet.topo import MultiGraph, Topo

__all__ = ["Topo", "added_twice", "load_topology"]


class _Graph(MultiGraph):  # type: ignore[misc]  # mininet has no types
    """Mininet's graph, which remembers the nodes that were added again: Mininet merges them."""

    def __init__(self) -> None:
        super().__init__()
        self.twice: list[str] = []

    def add_node(self, node: str, attr_dict: Any = None, **attrs: Any) -> None:
        """Adds a node."""
        if node in self.node:
            self.twice.append(node)
        super().add_node(node, attr_dict, **attrs)


@contextmanager
def _remembering() -> Iterator[None]:
    """Within it a new `Topo` has a `_Graph`: its class is looked up when one is made."""
    mininet_topo.MultiGraph = _Graph
    try:
        yield
    finally:
        mininet_topo.MultiGraph = MultiGraph


def added_twice(topo: Topo) -> list[str]:
    """The nodes of a loaded topology that were added more than once."""
    return list(dict.fromkeys(getattr(topo.g, "twice", ())))


def load_topology(target: str, options: Mapping[str, Any]) -> Topo:
    """The `Topo` that `target` names, made with `options`.

    Raises:
        ScenarioError: no such name, file or class; unknown options; or the user's code raised.
    """
    factory = _find(target)
    _check_options(factory, options)
    try:
        with _remembering():
            return factory(**options)
    except Interrupted:
        raise  # Ctrl-C, wherever it found the topology
    except Exception as error:
        raise _problem(
            _named_by(error, factory),
            f"{target} raised {type(error).__name__}: {error} ({_place(error, factory)})",
        ) from error


def _problem(where: str, message: str) -> ScenarioError:
    return ScenarioError([Problem(where, message)])


def _named_by(error: Exception, factory: type[Topo]) -> str:
    """The option whose value the topology refused, where its message begins with that name."""
    name = re.match(r"\w*", str(error))
    if isinstance(error, ValueError) and name and name[0] in _parameters(factory)[0]:
        return f"topology_options.{name[0]}"
    return "topology"


def _place(error: BaseException, factory: type[Topo]) -> str:
    """Where it was raised: the innermost line of the topology's own file, where there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == inspect.getfile(factory)]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"


def _find(target: str) -> type[Topo]:
    if ":" in target:
        file, _, name = target.rpartition(":")
        module = _load_file(Path(file).expanduser(), target)
        found = getattr(module, name, None)
        if not (isinstance(found, type) and issubclass(found, Topo)):
            known = [cls.__name__ for cls in _topo_classes(module)]
            what = "is no Topo class" if found is not None else "does not exist"
            raise _problem(
                "topology",
                f'expected a Topo class in {file} (got "{name}", which {what}; '
                f"it has: {', '.join(known) or 'none'}){did_you_mean(name, known)}",
            )
        return found
    path = bundled.folder("topologies") / f"{target}.py"
    if target not in bundled.names("topologies"):
        known = list(bundled.names("topologies"))
        raise _problem(
            "topology",
            f"expected one of {', '.join(known)}, FILE.py:Class or FILE.toml "
            f'(got "{target}"){did_you_mean(target, known)}',
        )
    classes = _topo_classes(_load_file(path, target))
    if len(classes) != 1:
        raise _problem(
            "topology", f"{path.name} must define one Topo class (it has {len(classes)})"
        )
    return classes[0]


def _load_file(path: Path, target: str) -> ModuleType:
    if not path.is_file():
        raise _problem("topology", f'expected a file (got "{path}" in "{target}", which is none)')
    name = f"testbed_topology_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise _problem("topology", f'expected a Python file (got "{path}")')
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except Interrupted:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise _problem(
            "topology", f"{path} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _topo_classes(module: ModuleType) -> list[type[Topo]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Topo)
        and value.__module__ == module.__name__
    ]


def _parameters(factory: type[Topo]) -> tuple[list[str], bool]:
    """The options that a topology has, and whether it takes any others as well."""
    # Topo.__init__ hands its keyword arguments to build(): that is where they are named.
    parameters = inspect.signature(factory.build).parameters
    known = [
        name
        for name, parameter in parameters.items()
        if name != "self"
        and parameter.kind is not parameter.VAR_KEYWORD
        and parameter.kind is not parameter.VAR_POSITIONAL
    ]
    own_init = inspect.signature(factory.__init__).parameters
    known += [
        name
        for name, parameter in own_init.items()
        if name not in {"self", "args", "params", "kwargs", *known}
    ]
    return known, any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _check_options(factory: type[Topo], options: Mapping[str, Any]) -> None:
    known, open_ended = _parameters(factory)
    problems = [
        Problem(
            f"topology_options.{name}",
            f"unknown option (it has: {', '.join(known) or 'none'}){did_you_mean(name, known)}",
        )
        for name in options
        if name not in known and not (open_ended and not known)
    ]
    if problems:
        raise ScenarioError(problems)
