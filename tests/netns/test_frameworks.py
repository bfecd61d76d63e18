"""Rule: applications that people have written with a framework run unchanged: FastAPI, Django,
Litestar, and one that needs the packages of its own virtual environment.

Each lies in a folder of its own, as its framework's own tutorial has it, and is run by `testbed
run` from there.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from testbed.recording.layout import Layout
from tests.support.people import environment

REQUESTS = 23
FASTAPI = {
    "main.py": """
from fastapi import FastAPI

app = FastAPI()

@app.get("/")
async def read_root():
    return {"Hello": "World"}

@app.get("/items/{item_id}")
def read_item(item_id: int, q: str | None = None):
    return {"item_id": item_id, "q": q}
"""
}
AWAITS_ASYNCIO = {
    "main.py": """
import asyncio

from fastapi import FastAPI

app = FastAPI()

@app.get("/")
async def read_root():
    await asyncio.sleep(0.001)
    return {"Hello": "World"}
"""
}
DJANGO = {
    "mysite/__init__.py": "",
    "mysite/settings.py": """
SECRET_KEY = "of this test"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "mysite.urls"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
INSTALLED_APPS = ["polls"]
USE_TZ = True
""",
    "mysite/urls.py": """
from django.urls import include, path

urlpatterns = [path("polls/", include("polls.urls"))]
""",
    "mysite/asgi.py": """
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_asgi_application()
""",
    "mysite/wsgi.py": """
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_wsgi_application()
""",
    "polls/__init__.py": "",
    "polls/urls.py": """
from django.urls import path

from . import views

urlpatterns = [path("", views.index), path("later/", views.later)]
""",
    "polls/views.py": """
from django.http import HttpResponse

def index(request):
    return HttpResponse("Hello, world. You're at the polls index.")

async def later(request):
    return HttpResponse("Hello from a coroutine.")
""",
}
LITESTAR = {
    "app.py": """
from litestar import Litestar, get

@get("/")
async def index() -> str:
    return "Hello, world!"

@get("/books/{book_id:int}")
async def get_book(book_id: int) -> dict[str, int]:
    return {"book_id": book_id}

app = Litestar([index, get_book])
"""
}
OWN_PACKAGES = {
    "service.py": """
from greetings import GREETING

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": GREETING})
"""
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "testbed.cli", "run", "single_bottleneck"]
    load = ["--requests", str(REQUESTS), "--delay", "2ms", "--seed", "7"]
    out = [] if "--out" in options else ["--out", "recording"]
    return subprocess.run(
        [*command, *load, *out, *options],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("files", "options", "size"),
    [
        pytest.param(
            FASTAPI, ("--app", "main:app", "--path", "/items/5?q=x"), 21, id="FastAPI on trio"
        ),
        pytest.param(
            FASTAPI, ("--app", "main:app", "--server", "uvicorn"), 17, id="FastAPI on Uvicorn"
        ),
        pytest.param(
            LITESTAR, ("--app", "app:app", "--path", "/books/1"), 13, id="Litestar on trio"
        ),
        pytest.param(
            DJANGO,
            ("--app", "mysite.asgi:application", "--server", "uvicorn", "--path", "/polls/"),
            40,
            id="Django on Uvicorn",
        ),
        pytest.param(
            DJANGO,
            (
                "--app", "mysite.asgi:application", "--server", "hypercorn-asyncio", "--path",
                "/polls/later/",
            ),
            23,
            id="Django on Hypercorn",
        ),
        pytest.param(
            DJANGO,
            ("--app", "mysite.wsgi:application", "--server", "threaded", "--path", "/polls/"),
            40,
            id="Django by WSGI",
        ),
    ],
)  # fmt: skip
def test_an_application_runs_unchanged(
    tmp_path: Path, files: dict[str, str], options: tuple[str, ...], size: int
) -> None:
    write(tmp_path, files)
    done = run(tmp_path, *options)
    # 5: the verdict on a busy machine.
    assert done.returncode in (0, 5), done.stderr
    layout = Layout(tmp_path / "recording")
    requests = pl.read_parquet(layout.events("http"))
    assert requests.height == REQUESTS
    assert requests["failure"].null_count() == REQUESTS, requests["failure"].to_list()
    assert set(requests["status"]) == {200}
    assert set(requests["response_bytes"]) == {size}
    layer = msgspec.json.decode(layout.summary.read_bytes())["layers"]["asgi"]
    if "wsgi" in options[1]:
        assert layer["status"] == "not observed"
        assert layer["reason"] == "the application is a WSGI application"
    else:
        assert layer["loss"]["requests"] == REQUESTS


def test_a_handler_that_awaits_asyncio_is_told_where_it_runs(tmp_path: Path) -> None:
    write(tmp_path, AWAITS_ASYNCIO)
    on_trio = run(tmp_path, "--app", "main:app")
    # 5: the verdict on a busy machine.
    assert on_trio.returncode in (0, 5), on_trio.stderr
    told = " ".join(on_trio.stdout.split())
    assert f'"RuntimeError: no running event loop" in {REQUESTS} of {REQUESTS} requests' in told
    assert "choose --server uvicorn or hypercorn-asyncio" in told
    page = Layout(tmp_path / "recording").report.read_text()
    assert "RuntimeError: no running event loop" in page
    on_asyncio = run(tmp_path, "--app", "main:app", "--server", "uvicorn", "--out", "second")
    assert on_asyncio.returncode in (0, 5), on_asyncio.stderr
    assert "the application raised" not in on_asyncio.stdout
    requests = pl.read_parquet(Layout(tmp_path / "second").events("http"))
    assert set(requests["status"]) == {200}


def test_with_the_packages_of_its_own_environment(tmp_path: Path) -> None:
    write(tmp_path, OWN_PACKAGES)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = tmp_path / ".venv" / "lib" / version / "site-packages"
    (packages / "greetings.py").write_text("GREETING = b'from there'\n")
    without = run(tmp_path, "--app", "service:app")
    assert without.returncode == 4
    assert "No module named 'greetings'" in without.stderr
    done = run(tmp_path, "--app", "service:app", "--app-environment", ".venv", "--out", "second")
    assert done.returncode in (0, 5), done.stderr
    requests = pl.read_parquet(Layout(tmp_path / "second").events("http"))
    assert set(requests["response_bytes"]) == {len(b"from there")}
    wrong = run(tmp_path, "--app", "service:app", "--app-environment", "venv")
    assert wrong.returncode == 2
    assert "expected the folder of a virtual environment" in wrong.stderr
