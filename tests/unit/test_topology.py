"""Rule: a target that names no topology is one clear error that says what is accepted, and user
code that raises is named with its place.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testbed.bundled import names
from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.network.plan import make_plan
from testbed.network.topology import Topo, load_topology
from testbed.scenario import Scenario

RING = '''\
"""A ring of n routers."""

from mininet.topo import Topo


class Ring(Topo):
    def build(self, n: int = 3, size: str = "small") -> None:
        if n < 2:
            raise ValueError(f"n must be at least 2 (got {n})")
        hosts = [self.addHost(f"h{index}") for index in range(n)]
        for index, host in enumerate(hosts):
            self.addLink(host, hosts[(index + 1) % n])


class Star(Topo):
    def build(self, **anything: object) -> None:
        self.addHost(str(sorted(anything)))


class Old(Topo):
    def __init__(self, spokes: int = 4, **params: object) -> None:
        self.spokes = spokes
        super().__init__(**params)


class Unlinked(Topo):
    def build(self) -> None:
        self.addHost("h1")
        self.addLink("h1", "h2")


NOT_A_TOPO = 3
'''


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    path = tmp_path / "ring.py"
    path.write_text(RING)
    return path


def message_of(target: str, **options: object) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_topology(target, options)
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
    return str(caught.value)


def test_a_short_name() -> None:
    topo = load_topology("single_bottleneck", {})
    assert list(topo.nodes(sort=False)) == ["client", "r1", "server"]


def test_a_short_name_with_an_option() -> None:
    topo = load_topology("dumbbell", {"n": 3})
    clients = [name for name in topo.nodes(sort=False) if name.startswith("client")]
    assert clients == ["client1", "client2", "client3"]


def test_a_class_of_a_file(ring: Path) -> None:
    topo = load_topology(f"{ring}:Ring", {"n": 4})
    assert len(topo.links()) == 4


def test_a_file_relative_to_the_current_folder(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ring.parent)
    assert len(load_topology("ring.py:Ring", {}).links()) == 3


def test_options_of_a_class_with_its_own_constructor(ring: Path) -> None:
    assert load_topology(f"{ring}:Old", {"spokes": 9}).spokes == 9


def test_a_class_that_takes_any_option(ring: Path) -> None:
    assert load_topology(f"{ring}:Star", {"whatever": 1}).nodes() == ["['whatever']"]


def test_a_node_that_is_added_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "twins.py"
    path.write_text(
        "from mininet.topo import Topo\n"
        "class Twins(Topo):\n"
        "    def build(self):\n"
        "        for name in ('a', 'b', 'b'):\n"
        "            self.addHost(name)\n"
        "        self.addLink('a', 'b')\n"
    )
    topo = load_topology(f"{path}:Twins", {})
    assert topo.nodes() == ["a", "b"]
    with pytest.raises(ScenarioError) as caught:
        make_plan(topo, Scenario(topology="t"), "relay")
    assert str(caught.value) == "node b: is added twice: Mininet makes one node of both"
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
    # Mininet's own class is what it was.
    assert type(Topo().g).__module__ == "mininet.topo"


def test_a_file_may_import_its_neighbours_and_leaves_no_trace_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_topology.py").write_text("COUNT = 5\n")
    (tmp_path / "user.py").write_text(
        "from mininet.topo import Topo\n"
        "from beside_the_topology import COUNT\n"
        "class T(Topo):\n"
        "    def build(self):\n"
        "        self.addHost(f'h{COUNT}')\n"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = list(sys.path)
    assert load_topology(f"{tmp_path / 'user.py'}:T", {}).nodes() == ["h5"]
    assert sys.path == before
    del sys.modules["beside_the_topology"]


def test_a_file_may_define_dataclasses(tmp_path: Path) -> None:
    # They look up the module that they are defined in by its name.
    path = tmp_path / "settings.py"
    path.write_text(
        "from __future__ import annotations\n"
        "from dataclasses import KW_ONLY, dataclass\n"
        "from mininet.topo import Topo\n"
        "@dataclass\n"
        "class Settings:\n"
        "    _: KW_ONLY\n"
        "    hosts: int = 2\n"
        "class T(Topo):\n"
        "    def build(self):\n"
        "        for n in range(Settings().hosts):\n"
        "            self.addHost(f'h{n}')\n"
    )
    assert load_topology(f"{path}:T", {}).nodes() == ["h0", "h1"]


def test_a_wrong_name_says_which_there_are_and_which_was_meant() -> None:
    assert message_of("dumbell") == (
        f"topology: expected one of {', '.join(names('topologies'))}, FILE.py:Class or FILE.toml "
        '(got "dumbell"); did you mean "dumbbell"?'
    )


def test_a_name_far_from_all_has_no_suggestion() -> None:
    assert message_of("xyzzy").endswith('(got "xyzzy")')


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.py"
    assert message_of(f"{path}:Ring") == (
        f'topology: expected a file (got "{path}" in "{path}:Ring", which is none)'
    )


def test_a_class_that_is_not_there_with_the_one_that_was_meant(ring: Path) -> None:
    assert message_of(f"{ring}:Rings") == (
        f'topology: expected a Topo class in {ring} (got "Rings", which does not exist; '
        'it has: Ring, Star, Old, Unlinked); did you mean "Ring"?'
    )


def test_something_that_is_no_topo_class(ring: Path) -> None:
    assert 'got "NOT_A_TOPO", which is no Topo class; it has: Ring' in message_of(
        f"{ring}:NOT_A_TOPO"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("import no_such_module_anywhere", "ModuleNotFoundError", id="import"),
        pytest.param("def (", "SyntaxError", id="syntax"),
        pytest.param("1 / 0", "ZeroDivisionError: division by zero", id="raises"),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    message = message_of(f"{path}:Any")
    assert message.startswith(f"topology: {path} cannot be imported: ")
    assert said in message


def test_user_code_that_raises_is_named_with_its_place(ring: Path) -> None:
    assert message_of(f"{ring}:Ring", n=1) == (
        f"topology_options.n: {ring}:Ring raised ValueError: n must be at least 2 (got 1) "
        "(ring.py:9 in build)"
    )


def test_an_error_within_mininet_is_named_with_the_users_line(ring: Path) -> None:
    assert message_of(f"{ring}:Unlinked") == (
        f"topology: {ring}:Unlinked raised KeyError: 'h2' (ring.py:29 in build)"
    )


def test_every_unknown_option_at_once_each_with_what_was_meant() -> None:
    assert message_of("dumbbell", m=1, number=2) == (
        "2 problems"
        "\n  topology_options.m: unknown option (it has: n)"
        "\n  topology_options.number: unknown option (it has: n)"
    )


def test_an_unknown_option_that_is_nearly_right(ring: Path) -> None:
    assert message_of(f"{ring}:Ring", sise="big") == (
        'topology_options.sise: unknown option (it has: n, size); did you mean "size"?'
    )


def test_an_option_of_a_topology_without_any() -> None:
    assert message_of("single_bottleneck", n=1) == (
        "topology_options.n: unknown option (it has: none)"
    )
