"""Scenario files: every problem at once, with its place, what was expected and what was got."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.scenario import Link, Load, Scenario, notation
from testbed.scenario.file import as_toml, read_scenario

TABLE_OR_TEXT = "a table or a text such as loss 2%, delay 5ms"
RING = '''
from mininet.topo import Topo

class Base(Topo):
    def build(self): ...

class Ring(Topo):
    """A ring of n routers."""
    def build(self, n: int, speed: float = 1.5, name: str = "r", closed: bool = True): ...

class Loose(Topo):
    def build(self, n=2, **more): ...

class Derived(Base):
    pass

Alias = Ring
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ring.py").write_text(RING)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "scenario.toml"
    path.write_text(text)
    return path


def problems(path: Path) -> dict[str, str]:
    """Where -> message of all problems of the file."""
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    assert caught.value.source == str(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
    return {problem.where: problem.message for problem in caught.value.problems}


def test_everything_that_a_file_can_say(folder: Path) -> None:
    path = write(
        folder,
        """
        topology = "dumbbell"
        app = "stream"
        server = "hypercorn"
        congestion_control = "reno"
        link_backend = "relay"
        seed = 7
        probes = "light"

        [topology_options]
        n = 3

        [load]
        users = 4
        rate = "200/s"
        arrivals = "periodic"
        requests = 100
        duration = "30s"
        method = "POST"
        path = "/?a=1"
        body = "64kB"
        timeout = "5s"

        [link]
        capacity = "10mbit"
        delay = "20ms"
        loss = "1%"
        queue = "50p"

        [links."r1-r2"]
        loss = "2%"
        """,
    )
    assert read_scenario(path) == Scenario(
        topology="dumbbell",
        topology_options={"n": 3},
        app="stream",
        load=Load(
            users=4,
            rate="200/s",
            arrivals="periodic",
            requests=100,
            duration="30s",
            method="POST",
            path="/?a=1",
            body="64kB",
            timeout="5s",
        ),
        link=Link(capacity="10mbit", delay="20ms", loss="1%", queue="50p"),
        links={"r1-r2": Link(loss="2%")},
        congestion_control="reno",
        link_backend="relay",
        seed=7,
        probes="light",
    )


def test_a_file_needs_no_more_than_a_topology(folder: Path) -> None:
    path = write(folder, 'topology = "single_bottleneck"')
    assert read_scenario(path) == Scenario(topology="single_bottleneck")


def test_every_problem_is_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    path = write(
        folder,
        """
        topolgy = "single_bottleneck"
        app = 5
        seed = "7"
        probes = "most"
        [load]
        users = "four"
        arrivals = "poison"
        path = "index.html"
        timeout = 30
        [link]
        capacity = "0mbit"
        loss = 0.01
        [links."r1-server"]
        capacity = 10
        dela = "1ms"
        """,
    )
    found = problems(path)
    assert found == {
        "topolgy": 'unknown key; did you mean "topology"?',
        "app": "expected text (got 5)",
        "seed": 'expected a whole number (got "7")',
        "probes": "expected all, light, none, or names out of captures, samples, event_loop, asgi, "
        'syscall, tracepoints with commas between them (got "most")',
        "load.users": 'expected a whole number (got "four")',
        "load.arrivals": 'expected poisson, periodic or trace FILE (got "poison": "poison" is '
        'not known here; did you mean "poisson"?)',
        "load.path": 'must begin with "/" (got "index.html")',
        "load.timeout": "expected a time with a unit (ns, us, ms, s, min), such as 20ms "
        "(got 30, without a unit)",
        "link.capacity": 'must be greater than 0 (got "0mbit")',
        "link.loss": f"expected {notation.LOSS_FORM} (got 0.01, without a unit)",
        'links."r1-server".capacity': f"expected {notation.CAPACITY_FORM} (got 10, without a unit)",
        'links."r1-server".dela': 'unknown key; did you mean "delay"?',
        "topology": "is missing",
    }
    assert list(found)[:5] == ["topolgy", "app", "seed", "probes", "load.users"]
    assert list(found)[-1] == "topology"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("seed = true", "seed", "expected a whole number (got true)"),
        ("seed = 1.5", "seed", "expected a whole number (got 1.5)"),
        ("seed = -1", "seed", "must lie in 0..2**63-1 (got -1)"),
        ("seed = 9223372036854775808", "seed", "must lie in 0..2**63-1 (got 9223372036854775808)"),
        ("app = ''", "app", "expected a name or module:attribute (got nothing)"),
        ("app = ['hello']", "app", "expected text (got a list)"),
        ("app = 2026-11-22", "app", "expected text (got 2026-11-22)"),
        ("link = 'fast'", "link", None),
        ("link = 5", "link", f"expected {TABLE_OR_TEXT} (got 5)"),
        ("links = 'fast'", "links", 'expected a table (got "fast")'),
        ("links.r1-server = '2%'", 'links."r1-server"', None),
        ("links.r1-server = [1]", 'links."r1-server"', f"expected {TABLE_OR_TEXT} (got a list)"),
        ("capacity = '1mbit'", "capacity", "unknown key; it belongs in [link]"),
        ("users = 4", "users", "unknown key; it belongs in [load]"),
        (
            "server = 'gunicorn'",
            "server",
            "expected one of hypercorn, hypercorn-asyncio, uvicorn, blocking, threaded, forking "
            '(got "gunicorn")',
        ),
        ("load.method = 5", "load.method", "expected text (got 5)"),
        ("load.users = 0", "load.users", "must be at least 1 (got 0)"),
        ("load.duration = '0s'", "load.duration", 'must be greater than 0 (got "0s")'),
        ("app = 'helo'", "app", None),
        ("topology_options.n = [1]", 'topology_options."n"', None),
        (
            "topology_options.n = 3",
            'topology_options."n"',
            "unknown option of this topology; it has none",
        ),
    ],
)
def test_one_problem(folder: Path, text: str, where: str, message: str | None) -> None:
    found = problems(write(folder, f'topology = "single_bottleneck"\n{text}'))
    assert list(found) == [where]
    assert message is None or found[where] == message


def test_a_name_that_was_nearly_right(folder: Path) -> None:
    found = problems(write(folder, 'topology = "single_botleneck"\napp = "helo"'))
    assert 'did you mean "single_bottleneck"?' in found["topology"]
    assert 'did you mean "hello"?' in found["app"]


def test_a_name_that_is_far_off_gets_the_list(folder: Path) -> None:
    found = problems(write(folder, 'topology = "xyzzy"'))
    assert "dumbbell" in found["topology"]
    assert "single_bottleneck" in found["topology"]


def test_a_topology_file_is_relative_to_the_scenario(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    path = write(folder, 'topology = "ring.py:Ring"\ntopology_options.n = 3')
    assert read_scenario(path).topology == f"{folder}/ring.py:Ring"


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        ("ring.py:Rign", ["ring.py has Base, Ring, Loose", 'did you mean "Ring"?']),
        ("ring.py", ["expected FILE.py:Class", "got no class"]),
        ("nosuch.py:Ring", ["cannot read", "nosuch.py", "No such file"]),
        ("broken.py:Ring", ["broken.py is not valid Python"]),
        ("empty.py:Ring", ["empty.py has no class derived from Topo"]),
    ],
)
def test_a_topology_file_that_cannot_be_used(folder: Path, topology: str, words: list[str]) -> None:
    (folder / "broken.py").write_text("class Ring(Topo:\n")
    (folder / "empty.py").write_text("")
    found = problems(write(folder, f'topology = "{topology}"'))
    for word in words:
        assert word in found["topology"]


@pytest.mark.parametrize("name", ["Derived", "Alias", "Loose"])
def test_what_only_running_a_topology_can_tell_is_let_through(folder: Path, name: str) -> None:
    path = write(folder, f'topology = "ring.py:{name}"\ntopology_options.anything = 3')
    assert read_scenario(path).topology_options == {"anything": 3}


def test_the_options_of_a_topology_are_checked_against_its_build(folder: Path) -> None:
    found = problems(
        write(
            folder,
            """
            topology = "ring.py:Ring"
            [topology_options]
            speed = "fast"
            name = 3
            closed = 1
            sped = 2
            """,
        )
    )
    assert found == {
        'topology_options."speed"': 'expected a number (got "fast")',
        'topology_options."name"': "expected text (got 3)",
        'topology_options."closed"': "expected true or false (got 1)",
        'topology_options."sped"': 'unknown option of this topology; did you mean "speed"?',
        'topology_options."n"': "is missing",
    }


def test_a_syntax_error_has_line_and_column(folder: Path) -> None:
    found = problems(write(folder, 'topology = "dumbbell"\napp = hello\n'))
    assert found == {"line 2, column 7": "not valid TOML: Invalid value"}


def test_a_key_that_stands_twice(folder: Path) -> None:
    found = problems(write(folder, "seed = 1\nseed = 2\n"))
    assert list(found) == ["line 2, column 9"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert problems(tmp_path / "nosuch.toml") == {
        "": "cannot read this scenario file: No such file or directory"
    }


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    assert problems(tmp_path) == {"": "cannot read this scenario file: Is a directory"}


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"app = \xff")
    assert problems(path) == {"byte 7": "TOML is UTF-8, and this is not"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("seed = " + "9" * 5000, "not valid TOML: Exceeds the limit"),
        ("seed = 0x" + "f" * 5000, "must lie in 0..2**63-1 (got a number of thousands of digits)"),
        ("app = " + "[" * 100_000, "not valid TOML: too many brackets in one another"),
        ("app = " + "'x'" + " " * 10_000_000, "expected at most 10 MB (got more)"),
        (f"app = '{'x' * 10_000}'", "xxx..."),
    ],
    ids=["digits", "hexadecimal digits", "brackets", "a large file", "a long word"],
)
def test_a_file_that_asks_too_much(folder: Path, text: str, what: str) -> None:
    found = problems(write(folder, f'topology = "dumbbell"\n{text}'))
    assert what in " ".join(found.values())
    assert len(" ".join(found.values())) < 1000


@given(text=st.text(max_size=60) | st.sampled_from([*Link.__struct_fields__, "links"]).flatmap(
    lambda key: st.text(max_size=20).map(lambda value: f'link.{key} = """{value}"""')
))  # fmt: skip
def test_any_text_is_a_scenario_or_is_refused(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(f'topology = "dumbbell"\n{text}', encoding="utf-8", errors="replace")
    with contextlib.suppress(ScenarioError):
        read_scenario(path)


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
_LINKS = st.builds(
    Link,
    capacity=st.none() | st.integers(1, 10**9).map(lambda n: f"{n}bit"),
    delay=st.none() | st.integers(0, 10**9).map(lambda n: f"{n}us"),
    loss=st.none() | st.integers(0, 100).map(lambda n: f"{n}%"),
)


@given(
    link=_LINKS,
    links=st.dictionaries(_NAMES, _LINKS.filter(lambda link: link != Link()), max_size=3),
    path=_NAMES.map(lambda name: f"/{name}"),
    options=st.dictionaries(
        _NAMES,
        st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | _NAMES,
        max_size=3,
    ),
    seed=st.none() | st.integers(0, 2**63 - 1),
)
def test_a_scenario_written_as_toml_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    link: Link,
    links: dict[str, Link],
    path: str,
    options: dict[str, int | float | bool | str],
    seed: int | None,
) -> None:
    scenario = Scenario(
        topology=f"{__file__}:OPEN",
        topology_options=options,
        app="m:app",
        load=Load(path=path),
        link=link,
        links=links,
        seed=seed,
    )
    file = tmp_path_factory.getbasetemp() / "again.toml"
    file.write_text(as_toml(scenario), encoding="utf-8")
    assert read_scenario(file) == scenario


OPEN = None
"""Makes this file one that may define a topology OPEN, whose options nobody can know."""
