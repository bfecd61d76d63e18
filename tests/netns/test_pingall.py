"""Rule: in every topology that has a name every node reaches every other one, over IPv4 and
IPv6.
"""

from __future__ import annotations

import subprocess

import pytest

from testbed import bundled
from testbed.network.topology import load_topology
from tests.support.people import environment
from tests.support.runs import CLI

END_S = 180.0
"""The slowest, fat_tree with 1260 pings, takes 8 s on an idle machine."""
OPTIONS = {"line": {"n": 10}, "fat_tree": {"k": 4}}
LOSSLESS = {"lossy_last_hop": {"loss_percent": 0}}
"""Pings are not sent again."""
TARGETS = [
    (name, OPTIONS.get(name, {}) | LOSSLESS.get(name, {})) for name in bundled.names("topologies")
]
IDS = [name for name, _ in TARGETS]


def pings(name: str, options: dict[str, int]) -> int:
    """How many pings make a `pingall`: each node that is no switch to each other one."""
    nodes = len(load_topology(name, options).hosts())
    return nodes * (nodes - 1)


@pytest.mark.parametrize("ip", [4, 6])
@pytest.mark.parametrize(("name", "options"), TARGETS, ids=IDS)
def test_everyone_reaches_everyone(name: str, options: dict[str, int], ip: int) -> None:
    words = [
        word for pair in options.items() for word in ("--topology-option", "{}={}".format(*pair))
    ]
    done = subprocess.run(
        [*CLI, "shell", name, "--ip", str(ip), *words],
        input="pingall\n",
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=END_S,
    )
    assert done.returncode == 0, done.stdout
    count = pings(name, options)
    assert f"*** Results: 0% dropped ({count}/{count} received)" in done.stdout, done.stdout
