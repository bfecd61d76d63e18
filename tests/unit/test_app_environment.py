"""Rule: an application imports the packages of its own virtual environment, behind the testbed's;
what is no such environment is named.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from testbed.errors import RequestError
from testbed.server.environment import packages_of
from tests.unit.processes import server, write_app

OWN = f"python{sys.version_info[0]}.{sys.version_info[1]}"
APP = """
import httpx, only_there, developed
async def app(scope, receive, send):
    if scope["type"] != "http": raise NotImplementedError
    said = f"{only_there.NAME} {developed.NAME} {hasattr(httpx, 'Client')}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """One with a package of its own, one in development mode, and an httpx that nobody wants."""
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = folder / "lib" / OWN / "site-packages"
    (packages / "only_there.py").write_text("NAME = 'there'\n")
    (packages / "httpx.py").write_text("raise SystemExit('the wrong httpx')\n")
    source = tmp_path / "source"
    source.mkdir()
    (source / "developed.py").write_text("NAME = 'developed'\n")
    (packages / "developed.pth").write_text(f"{source}\n")
    return folder


def test_the_application_has_its_packages_and_the_testbed_keeps_its_own(
    tmp_path: Path, environment: Path
) -> None:
    app = write_app(tmp_path, APP)
    with server(tmp_path, app, packages=packages_of(str(environment))) as child:
        assert httpx.get(child.url, trust_env=False).text == "there developed True"
        child.end_stdin()
        assert child.exit_code() == 0, child.log()


def test_none_has_none() -> None:
    assert packages_of(None) == []


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        packages_of(str(tmp_path))
    assert str(caught.value) == (
        "app_environment: expected the folder of a virtual environment, with its pyvenv.cfg "
        f"(got {tmp_path})"
    )
    assert caught.value.where == "app_environment"


@pytest.mark.parametrize("key", ["version", "version_info"])
def test_another_python(tmp_path: Path, key: str) -> None:
    (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\n{key} = 3.7.4\n")
    with pytest.raises(RequestError, match=r"is of Python 3\.7, and the testbed runs on 3\.\d+: "):
        packages_of(str(tmp_path))
