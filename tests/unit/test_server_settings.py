"""What a report says of the server's and the nodes' settings: those that somebody has chosen."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from testbed.report.server_settings import described
from testbed.scenario import Scenario
from testbed.scenario.nodes import NodeSettings

NODES = {
    "server": NodeSettings(descriptors=64, sysctls={"net.ipv4.tcp_rmem": "1 2 3"}),
    "client": NodeSettings(sysctls={"net.ipv4.tcp_sack": 0}),
    "r1": NodeSettings(),
}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, []),
        ({"workers": 2, "backlog": 8}, ["2 workers", "backlog 8"]),
        (
            {"receive_buffer": "64kB", "send_buffer": "4kB"},
            ["receive buffer 64kB", "send buffer 4kB"],
        ),
        ({"app_environment": "/x/.venv"}, ["packages of /x/.venv"]),
        (
            {"nodes": NODES},
            ["server: descriptors 64, net.ipv4.tcp_rmem 1 2 3", "client: net.ipv4.tcp_sack 0"],
        ),
    ],
)
def test_what_is_not_as_usual(fields: dict[str, Any], words: list[str]) -> None:
    scenario = Scenario(topology="dumbbell", **fields)
    assert described(msgspec.to_builtins(scenario)) == words
