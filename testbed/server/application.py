"""Finding and importing the application under test.

Rules:

- A short name means a file of apps/ and its attribute ``app``; it is loaded from its file, so that
  apps/ does not come onto sys.path. Anything else is ``module:attribute``, dots allowed on both
  sides.
- `check_application` imports nothing, and can be called by anyone before a run. `load_application`
  runs the user's code, and is called in the server process only.
- What can be called with (scope, receive, send) is an ASGI application, and what can be called with
  (environ, start_response) and not with three arguments is a WSGI application (PEP 3333).
- What is wrong with the request (no such name, module or attribute; neither kind of application, or
  one that the server cannot run) is a `RequestError`; an exception out of the user's module is a
  `ProcessError` with a traceback that begins in the user's code.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from testbed import bundled
from testbed.errors import MachineError, ProcessError, RequestError
from testbed.probes.asgi import Application
from testbed.scenario.app_names import app_hint
from testbed.scenario.names import did_you_mean
from testbed.scenario.servers import MODELS, ServerModel

WsgiApplication = Callable[..., Iterable[bytes]]
WANTED: Final = "a short name out of apps/, or module:attribute"
_FOLDER: Final = "apps"
_ATTRIBUTE: Final = "app"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An application that was imported."""

    application: Any
    wsgi: bool
    """It is a WSGI application; otherwise an ASGI application."""

    @property
    def asgi(self) -> Application:
        """The application, which is an ASGI application."""
        if self.wsgi:
            raise TypeError("this is a WSGI application")
        application: Application = self.application
        return application


def check_application(name: str, directory: Path, packages: Sequence[str] = ()) -> None:
    """Checks, without importing anything, that the application's module exists.

    Args:
        name: as in a scenario.
        directory: where the user's modules are.
        packages: folders of further packages; with them a module that is not found may still be.

    Raises:
        RequestError: no such short name, or no such module in `directory` or the installed
            packages.
    """
    if ":" not in name:
        _short_name(name)
        return
    module, _ = _split(name)
    path: list[str] | None = [str(directory), *sys.path, *packages]
    parts = module.split(".")
    for depth, part in enumerate(parts, start=1):
        if depth == 1 and part in sys.builtin_module_names:
            return
        parent = ".".join(parts[:depth])
        spec = None if path is None else importlib.machinery.PathFinder.find_spec(parent, path)
        if spec is None and packages:
            return  # their .pth files count, too, and only the server process runs those
        if spec is None:
            raise _no_module(name, parent, directory)
        locations = spec.submodule_search_locations
        path = None if locations is None else list(locations)


def load_application(
    name: str, directory: Path, model: ServerModel = MODELS["hypercorn"]
) -> Loaded:
    """Imports the application that `model` is to run, with `directory` first on sys.path.

    Raises:
        RequestError: no such short name, module or attribute, or it is no application that `model`
            runs.
        ProcessError: its module raised an exception.
        MachineError: one of the testbed's own applications lacks a package.
    """
    sys.path.insert(0, str(directory))
    if ":" not in name:
        module = _import(name, lambda: _load_file(name, _short_name(name)))
        return _application(name, module, _ATTRIBUTE, model)
    module_name, attribute = _split(name)
    check_application(name, directory)
    module = _import(name, lambda: importlib.import_module(module_name))
    return _application(name, module, attribute, model)


def _short_name(name: str) -> Path:
    known = bundled.names(_FOLDER)
    if name not in known:
        raise RequestError(
            f'no application has the short name "{name}"{did_you_mean(name, known)} '
            f"(known: {', '.join(known)}; your own are written module:attribute)",
            where="app",
            wanted=WANTED,
            got=name,
        )
    return bundled.folder(_FOLDER) / f"{name}.py"


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        hint = "; give the module's name, not its file" if module.endswith(".py") else ""
        raise RequestError(
            f'expected {WANTED}, such as "service.main:app" (got "{name}"{hint})',
            where="app",
            wanted=WANTED,
            got=name,
        )
    return module, attribute


def _no_module(name: str, module: str, directory: Path) -> RequestError:
    return RequestError(
        f'"{name}": there is no module "{module}" in {directory} or among the installed packages'
        f"{app_hint(name, directory)}",
        where="app",
        wanted=WANTED,
        got=name,
    )


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"testbed_app_{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _import(name: str, load: Any) -> ModuleType:
    try:
        module: ModuleType = load()
    except RequestError:
        raise
    except ModuleNotFoundError as error:
        if ":" not in name:
            raise MachineError(
                f'the application "{name}" needs {error.name}, which is not installed: '
                f"{sys.executable} -m pip install 'asgi-testbed[apps]', or name a virtual "
                "environment that has it with --app-environment DIR",
                where="app",
            ) from error
        hint = f" (a virtual environment that has {error.name}: --app-environment DIR)"
        raise _import_error(name, error, hint) from error
    except (Exception, SystemExit) as error:
        raise _import_error(name, error) from error
    return module


def _import_error(name: str, error: BaseException, hint: str = "") -> ProcessError:
    return ProcessError(
        f'importing the application "{name}" failed{hint}', where="app", last_lines=_trimmed(error)
    )


def _trimmed(error: BaseException) -> str:
    """The traceback from the first frame of the user's code on."""
    frames = error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file != __file__ and "importlib" not in file:
            break
        frames = frames.tb_next
    error = error.with_traceback(frames)
    return "".join(traceback.format_exception(type(error), error, frames, chain=True))


def _application(name: str, module: ModuleType, attribute: str, model: ServerModel) -> Loaded:
    found: Any
    try:
        found = reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        public = [known for known in vars(module) if not known.startswith("_")]
        raise RequestError(
            f'"{name}": the module "{module.__name__}" has no attribute "{attribute}"'
            f"{did_you_mean(attribute, public)}",
            where="app",
            wanted=WANTED,
            got=name,
        ) from error
    wsgi = _is_wsgi(name, found)
    if wsgi and not model.runs_wsgi:
        able = ", ".join(one.name for one in MODELS.values() if one.runs_wsgi)
        raise RequestError(
            f'"{name}" is a WSGI application, called with (environ, start_response): the server '
            f"{model.name} runs ASGI applications, called with (scope, receive, send); the servers "
            f"{able} run both",
            where="app",
            got=name,
        )
    return Loaded(found, wsgi)


def _is_wsgi(name: str, found: object) -> bool:
    """Whether it is a WSGI application; no: an ASGI application.

    Raises:
        RequestError: it is neither.
    """
    if not callable(found):
        raise RequestError(
            f'"{name}" is {type(found).__name__}, which cannot be called: expected an ASGI '
            "application, called with (scope, receive, send)",
            where="app",
            got=name,
        )
    try:
        signature = inspect.signature(found)
    except ValueError:  # built without one, in C: nothing to check
        return False
    for arguments, wsgi in ((3, False), (2, True)):
        try:
            signature.bind(*[None] * arguments)
        except TypeError:
            continue
        return wsgi
    raise RequestError(
        f'"{name}" takes {signature}: expected an ASGI application, called with '
        "(scope, receive, send), or a WSGI application, called with (environ, start_response); a "
        "factory is neither",
        where="app",
        got=name,
    )
