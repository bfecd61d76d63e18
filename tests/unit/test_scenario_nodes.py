"""Rule: settings of nodes mean the same through the command line, a file and Python; each wrong one
is named at its place; and what a node gets is its name's over its role's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.network.plan import make_plan
from testbed.scenario import Scenario
from testbed.scenario.build import build_scenario
from testbed.scenario.file import as_toml, read_scenario
from testbed.scenario.nodes import NodeSettings
from tests.unit.test_four_doors import Router

RMEM = "4096 16384 65536"
WANTED = NodeSettings(descriptors=64, sysctls={"net.ipv4.tcp_rmem": RMEM, "net.ipv4.tcp_sack": "0"})
TEXT = f"descriptors 64, net.ipv4.tcp_rmem {RMEM}, net.ipv4.tcp_sack=0"
FILE = f"""
topology = "dumbbell"
[nodes.server]
descriptors = 64
[nodes.server.sysctls]
"net.ipv4.tcp_rmem" = "{RMEM}"
"net.ipv4.tcp_sack" = "0"
"""


def read(folder: Path, text: str) -> Scenario:
    path = folder / "scenario.toml"
    path.write_text(text)
    return read_scenario(path)


def test_all_doors_give_the_same(tmp_path: Path) -> None:
    words: dict[str, Any] = {"nodes": [f"server: {TEXT}"]}
    apart: dict[str, Any] = {"nodes": [f"server: {part}" for part in TEXT.split(", ")]}
    python: dict[str, Any] = {"nodes": {"server": TEXT}}
    tables: dict[str, Any] = {
        "nodes": {"server": {"descriptors": 64, "sysctls": dict(WANTED.sysctls)}}
    }
    found = [
        build_scenario("dumbbell", words, spelling="command line"),
        build_scenario("dumbbell", apart, spelling="command line"),
        build_scenario("dumbbell", python),
        build_scenario("dumbbell", tables),
        read(tmp_path, FILE),
        read(tmp_path, f'topology = "dumbbell"\n[nodes]\nserver = "{TEXT}"\n'),
        Scenario(topology="dumbbell", nodes={"server": WANTED}),
    ]
    assert [one.nodes for one in found] == [{"server": WANTED}] * 7
    assert read(tmp_path, as_toml(found[-1])) == found[-1]


def test_options_go_over_a_file_setting_by_setting(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(FILE)
    options: dict[str, Any] = {"nodes": ["server: descriptors 128", "client: net.ipv4.tcp_sack 0"]}
    found = build_scenario(path, options, spelling="command line").nodes
    assert found == {
        "server": NodeSettings(descriptors=128, sysctls=WANTED.sysctls),
        "client": NodeSettings(sysctls={"net.ipv4.tcp_sack": "0"}),
    }


def test_whole_numbers_and_blanks_are_what_the_kernel_shows() -> None:
    settings = NodeSettings(sysctls={"net.ipv4.tcp_sack": 0, "net.ipv4.tcp_rmem": " 1\t2  3 "})
    assert settings.sysctl_texts == {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_rmem": "1 2 3"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("descriptors 31", "must lie in 32..1048576 (got 31)"),
        ("descriptors many", 'expected a whole number (got "many")'),
        ("descriptors", "expected SETTING VALUE, SETTING VALUE"),
        ("descriptors 64, descriptors 65", "expected SETTING VALUE, SETTING VALUE"),
        ("kernel.pid_max 5", "expected SETTING VALUE, SETTING VALUE"),
        ("net.ipv4/tcp_sack 0", "expected a sysctl of a network namespace"),
        ("net.ipv4.tcp_sack 0, net.ipv4.tcp_sack 1", "expected SETTING VALUE, SETTING VALUE"),
        ("", "expected SETTING VALUE, SETTING VALUE"),
    ],
)
def test_a_wrong_text_is_named_at_its_place(text: str, message: str) -> None:
    for options, spelling, place in (
        ({"nodes": [f"server: {text}"]}, "command line", "--nodes server"),
        ({"nodes": {"server": text}}, "python", 'nodes["server"'),
    ):
        with pytest.raises(ScenarioError) as caught:
            build_scenario("dumbbell", options, spelling=spelling)  # type: ignore[arg-type]
        [problem] = caught.value.problems
        assert problem.message.startswith(message)
        assert problem.where.startswith(place)
        assert caught.value.exit_code == EXIT_WRONG_REQUEST


def test_a_node_has_its_own_over_its_role() -> None:
    scenario = Scenario(
        topology="t",
        nodes={
            "router": NodeSettings(sysctls={"net.ipv4.tcp_sack": 0, "net.ipv4.tcp_dsack": 0}),
            "r1": NodeSettings(sysctls={"net.ipv4.tcp_sack": 1}),
            "server": NodeSettings(descriptors=64),
        },
    )
    plan = make_plan(Router(), scenario, "relay")
    assert plan.node("r1").settings.sysctls == {"net.ipv4.tcp_sack": 1, "net.ipv4.tcp_dsack": 0}
    assert plan.node("server").settings == NodeSettings(descriptors=64)
    assert plan.node("client").settings == NodeSettings()


def test_settings_of_nobody_are_refused_together() -> None:
    nodes = {
        "servr": NodeSettings(descriptors=64),
        "r1": NodeSettings(descriptors=64),
        "router": NodeSettings(descriptors=64),
    }
    with pytest.raises(ScenarioError) as caught:
        make_plan(Router(), Scenario(topology="t", nodes=nodes), "relay")
    nobody = "only servers and clients have processes to limit"
    assert [str(problem) for problem in caught.value.problems] == [
        'nodes."servr": the topology has no such node, and none of that role (it has: client, r1, '
        'server, router); did you mean "server"?',
        f'nodes."r1".descriptors: {nobody}',
        f'nodes."router".descriptors: {nobody}',
    ]


@pytest.mark.parametrize(
    ("node", "backlog", "warned"),
    [("server", 100, True), ("server", 8, False), ("client", 100, False)],
)
def test_a_backlog_that_a_sysctl_cuts_is_warned_of(node: str, backlog: int, warned: bool) -> None:
    """listen(2): a backlog above net.core.somaxconn is silently that."""
    scenario = Scenario(
        topology="router",
        backlog=backlog,
        nodes={node: NodeSettings(sysctls={"net.core.somaxconn": 8})},
    )
    warnings = make_plan(Router(), scenario, "relay").warnings
    text = "server: net.core.somaxconn cuts the backlog of 100 to 8 (listen(2))"
    assert (text in warnings) == warned
    assert any("somaxconn" in one for one in warnings) == warned
