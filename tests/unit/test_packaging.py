"""What is installed: pinned versions, Debian packages, the contents of the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import testbed
from testbed import doctor

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
DEBIAN_LISTS = (
    "debian-packages.txt",
    "debian-packages-test.txt",
    "debian-packages-kernel.txt",
    "debian-packages-unpacked.txt",
    "debian-packages-benchmarks.txt",
)


def constraints() -> dict[str, str]:
    """Version by canonical name."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines]
    return {canonicalize_name(name): version for name, version in pairs}


def debian_lines(name: str) -> list[str]:
    lines = (REPOSITORY / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def required(requirement: Requirement, seen: set[str]) -> Iterator[Requirement]:
    """The requirement and, from what is installed here, everything that it needs in turn."""
    yield requirement
    for extra in ("", *requirement.extras):
        key = f"{canonicalize_name(requirement.name)}[{extra}]"
        if key in seen:
            continue
        seen.add(key)
        for text in metadata.requires(requirement.name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                yield from required(needed, seen)


def test_constraints_are_names_and_versions_only() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)]
    assert odd == []
    assert lines == sorted(lines, key=str.lower)


@pytest.mark.parametrize(
    "text",
    [
        *PROJECT["dependencies"],
        *(text for text in PROJECT["optional-dependencies"]["test"] if "asgi-testbed" not in text),
        *PROJECT["optional-dependencies"]["pytest"],
        *PROJECT["optional-dependencies"]["httpx2"],
    ],
)
def test_everything_that_is_needed_is_pinned(text: str) -> None:
    pinned = constraints()
    needed = list(required(Requirement(text), set()))
    assert [str(each) for each in needed if canonicalize_name(each.name) not in pinned] == []
    wrong = [
        f"{each} (pinned {pinned[canonicalize_name(each.name)]})"
        for each in needed
        if not each.specifier.contains(pinned[canonicalize_name(each.name)])
    ]
    assert wrong == []


def test_mininet_finds_distutils_in_the_pinned_setuptools() -> None:
    """Python 3.12 has no distutils; mininet.node imports it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import mininet.node, mininet.net"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", DEBIAN_LISTS)
def test_debian_lists_say_what_each_package_is_for(name: str) -> None:
    form = r"[a-z0-9][a-z0-9.+-]+ +# ([a-z0-9_ -]+: )?[^:]+"
    lines = debian_lines(name)
    assert [line for line in lines if not re.fullmatch(form, line)] == []
    assert lines == sorted(lines)


@pytest.mark.parametrize("name", DEBIAN_LISTS)
@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no dpkg on this machine")
def test_debian_packages_hold_the_commands_that_are_named(name: str) -> None:
    wrong = []
    for line in debian_lines(name):
        package, _, purpose = line.partition("#")
        listing = subprocess.run(
            ["dpkg-query", "--listfiles", package.strip()],
            capture_output=True,
            text=True,
            check=False,
        )
        if listing.returncode == 0 and ":" in purpose:
            files = {Path(path).name for path in listing.stdout.splitlines() if "bin/" in path}
            wrong += [word for word in purpose.split(":")[0].split() if word not in files]
    assert wrong == []


def test_debian_list_holds_what_the_doctor_looks_for() -> None:
    listed = {
        command: line.split()[0]
        for line in debian_lines("debian-packages.txt")
        if ":" in line
        for command in line.partition("#")[2].split(":")[0].split()
    }
    wanted = {**doctor.TOOLS, **doctor.SHELL_TOOLS}
    assert {tool: listed.get(tool) for tool in wanted} == wanted


def test_debian_lists_name_no_package_twice() -> None:
    packages = [line.split()[0] for name in DEBIAN_LISTS for line in debian_lines(name)]
    assert len(packages) == len(set(packages))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The wheel, built from a copy and without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    for name in ("testbed", "topologies", "apps"):
        shutil.copytree(
            REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_adds_only_testbed_to_the_imports(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "testbed",
        f"asgi_testbed-{PROJECT['version']}.dist-info",
    }


@pytest.mark.parametrize("folder", ["topologies", "apps"])
def test_wheel_carries_every_bundled_file(wheel: zipfile.ZipFile, folder: str) -> None:
    here = {f"testbed/{folder}/{path.name}" for path in (REPOSITORY / folder).glob("*.py")}
    assert here != set()
    assert {name for name in wheel.namelist() if name.startswith(f"testbed/{folder}/")} == here


def test_wheel_carries_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    package = REPOSITORY / "testbed"
    here = {
        f"testbed/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and "cache" not in str(path.relative_to(package))
    }
    assert here - set(wheel.namelist()) == set()


def test_wheel_names_the_command_and_the_pytest_plugin(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    lines = wheel.read(name).decode().splitlines()
    assert "testbed = testbed.cli:main" in lines
    assert "testbed = testbed.pytest_plugin" in lines


def test_version_is_the_packages_own() -> None:
    assert testbed.__version__ == PROJECT["version"]
