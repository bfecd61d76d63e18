"""Finding the application: what is accepted, and one clear message for what is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import bundled
from testbed.errors import ProcessError, RequestError
from testbed.scenario.servers import MODELS, SERVERS
from testbed.server.application import check_application, load_application

GOOD = "async def app(scope, receive, send): ...\n"


@pytest.fixture(autouse=True)
def _import_state() -> Iterator[None]:
    """Leaves sys.path and sys.modules as they were."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize("name", bundled.names("apps"))
def test_short_name(tmp_path: Path, name: str) -> None:
    check_application(name, tmp_path)
    assert callable(load_application(name, tmp_path).asgi)


def test_apps_folder_does_not_come_onto_sys_path(tmp_path: Path) -> None:
    before = list(sys.path)
    load_application("hello", tmp_path)
    assert sys.path == [str(tmp_path), *before]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("service:app", {"service.py": GOOD}),
        ("pack.main:app", {"pack/__init__.py": "", "pack/main.py": GOOD}),
        ("space.main:app", {"space/main.py": GOOD}),
        ("service:holder.app", {"service.py": f"class holder:\n @staticmethod\n {GOOD}"}),
        (
            "service:app",
            {"service.py": "class A:\n async def __call__(self, s, r, t): ...\napp = A()\n"},
        ),
    ],
    ids=["module", "package", "namespace package", "dotted attribute", "instance"],
)
def test_module_and_attribute(tmp_path: Path, name: str, files: dict[str, str]) -> None:
    write(tmp_path, files)
    check_application(name, tmp_path)
    assert callable(load_application(name, tmp_path).asgi)


def test_users_folder_comes_first(tmp_path: Path) -> None:
    sys.modules.pop("colorsys", None)
    write(tmp_path, {"colorsys.py": GOOD})
    application = load_application("colorsys:app", tmp_path).application
    assert application.__module__ == "colorsys"
    assert sys.modules["colorsys"].__file__ == str(tmp_path / "colorsys.py")


def test_check_imports_nothing(tmp_path: Path) -> None:
    files = {
        "pack/__init__.py": "raise SystemExit('imported')",
        "pack/main.py": "raise SystemExit('imported')",
    }
    write(tmp_path, files)
    check_application("pack.main:app", tmp_path)
    assert "pack" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "helo", 'no application has the short name "helo"; did you mean "hello"?', id="typo"
        ),
        pytest.param(
            "service",
            'no application has the short name "service" (known: blocking, broken, '
            "cpu, fastapi_items, hello, slow_reader, sse, stream, upload, websocket; your own are "
            "written module:attribute)",
            id="no colon",
        ),
        pytest.param(
            "service.py:app",
            'there is no module "service.py" in',
            id="file as a module",
        ),
        pytest.param(
            "./service.py:app",
            'expected a short name out of apps/, or module:attribute, such as "service.main:app" '
            '(got "./service.py:app"; give the module\'s name, not its file)',
            id="path",
        ),
        pytest.param("service:", '(got "service:")', id="no attribute"),
        pytest.param(":app", '(got ":app")', id="no module"),
        pytest.param("a:b:c", '(got "a:b:c")', id="two colons"),
        pytest.param("servce:app", 'there is no module "servce" in', id="no such module"),
        pytest.param("service.sub:app", 'there is no module "service.sub" in', id="no package"),
        pytest.param("json.sub:app", 'there is no module "json.sub" in', id="no submodule"),
    ],
)
def test_wrong_name(tmp_path: Path, name: str, message: str) -> None:
    write(tmp_path, {"service.py": GOOD})
    for find in (check_application, load_application):
        with pytest.raises(RequestError) as caught:
            find(name, tmp_path)
        assert message in str(caught.value)
        assert caught.value.where == "app"
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        pytest.param(
            GOOD,
            "service:ap",
            'the module "service" has no attribute "ap"; did you mean "app"?',
            id="no attribute",
        ),
        pytest.param("app = 23\n", "service:app", "is int, which cannot be called", id="number"),
        pytest.param(
            "def app(environ, start_response): ...\n",
            "service:app",
            '"service:app" is a WSGI application, called with (environ, start_response): the '
            "server hypercorn runs ASGI applications, called with (scope, receive, send); the "
            "servers blocking, threaded, forking run both",
            id="WSGI",
        ),
        pytest.param("def app(): ...\n", "service:app", "takes (): expected an ASGI", id="factory"),
        pytest.param("class app: ...\n", "service:app", "takes (): expected an ASGI", id="class"),
    ],
)
def test_wrong_attribute(tmp_path: Path, source: str, name: str, message: str) -> None:
    write(tmp_path, {"service.py": source})
    with pytest.raises(RequestError) as caught:
        load_application(name, tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("source", "wsgi"),
    [
        (GOOD, False),
        ("def app(environ, start_response): ...\n", True),
        ("class A:\n def __call__(self, environ, start_response): ...\napp = A()\n", True),
        # Whatever takes both is taken for the newer one.
        ("def app(*arguments): ...\n", False),
    ],
    ids=["ASGI", "WSGI function", "WSGI object", "both"],
)
def test_servers_without_an_event_loop_run_wsgi_too(
    tmp_path: Path, server: str, source: str, wsgi: bool
) -> None:
    write(tmp_path, {"service.py": source})
    if wsgi and MODELS[server].loop is not None:
        with pytest.raises(RequestError, match=f"the server {server} runs ASGI applications"):
            load_application("service:app", tmp_path, MODELS[server])
    else:
        assert load_application("service:app", tmp_path, MODELS[server]).wsgi == wsgi


@pytest.mark.parametrize(
    ("source", "last"),
    [
        ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError: division by zero"),
        ("import no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("def app(\n", "SyntaxError: '(' was never closed"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
    ids=["exception", "missing dependency", "syntax", "exit"],
)
def test_module_that_fails(tmp_path: Path, source: str, last: str) -> None:
    write(tmp_path, {"service.py": source})
    with pytest.raises(ProcessError) as caught:
        load_application("service:app", tmp_path)
    text = str(caught.value)
    hint = " (a virtual environment that has no_such_thing: --app-environment DIR)"
    hint = hint if "no_such_thing" in source else ""
    assert text.startswith(f'importing the application "service:app" failed{hint}\n')
    assert text.endswith(last)
    assert str(tmp_path / "service.py") in text
    assert "application.py" not in text
    assert "importlib" not in text
    assert caught.value.exit_code == 4
