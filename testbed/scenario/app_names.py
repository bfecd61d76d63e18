"""Names of applications that were nearly right: a file's path, or a module without its attribute.

Nothing is imported: a hint must not run what it names.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Final

FORM: Final = "module:attribute, imported from the folder you are in"
_USUAL: Final = ("app", "application")
"""Attributes that frameworks' own tutorials use."""


def app_hint(name: str, folder: Path) -> str:
    """What to give in place of `name` where it leads to a file; else nothing.

    ``; did you mean "shop:app"?`` from `folder`, ``; in /srv/shop give "shop:app"`` from elsewhere.
    """
    place, _, attribute = name.partition(":")
    typed = Path(os.path.normpath(Path(place).expanduser()))
    path = _source(folder / typed) if typed.name else None
    if path is None:
        return ""
    attribute = attribute or _attribute(path)
    near = path.parent == folder or not typed.is_absolute()
    if near and path.is_relative_to(folder) and (module := _module(path.relative_to(folder))):
        return f'; did you mean "{module}:{attribute}"?'
    module = _module(Path(path.name))
    return f'; in {path.parent} give "{module}:{attribute}"' if module else ""


def _source(path: Path) -> Path | None:
    """The file, or the package's folder, that `path` means: with its ending or without."""
    path = Path(os.path.normpath(path))
    try:
        if path.suffix == ".py" and path.is_file():
            return path
        module = path.with_name(f"{path.name}.py")
        if module.is_file():
            return module
        return path if (path / "__init__.py").is_file() else None
    except (OSError, ValueError):
        return None


def _module(path: Path) -> str:
    """``pack/main.py`` as ``pack.main``; nothing where that is no name of a module."""
    parts = path.with_suffix("").parts
    return ".".join(parts) if all(part.isidentifier() for part in parts) else ""


def _attribute(path: Path) -> str:
    """The application in a file by its usual name; else ``ATTRIBUTE``."""
    file = path if path.is_file() else path / "__init__.py"
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return "ATTRIBUTE"
    bound = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in body:
        if isinstance(node, ast.Assign):
            bound |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return next((usual for usual in _USUAL if usual in bound), "ATTRIBUTE")
