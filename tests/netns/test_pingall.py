"""Rule: in every topology that has a name every node reaches every other one, in the testbed over
IPv4 and IPv6, and in plain Mininet as `mn` starts it.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from testbed import bundled
from testbed.network.tools import locate
from testbed.network.topology import load_topology
from tests.support.people import environment
from tests.support.runs import CLI
from tests.support.sandboxes import in_sandbox

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


@pytest.mark.parametrize(("name", "options"), TARGETS, ids=IDS)
def test_plain_mininet_runs_it_as_well(name: str, options: dict[str, int]) -> None:
    if locate("mn") is None:
        pytest.skip("Mininet's own command `mn` is not installed")
    topo = ",".join([name, *("{}={}".format(*pair) for pair in options.items())])
    path = Path(bundled.folder("topologies")) / f"{name}.py"
    argv = ["mn", "--custom", str(path), "--topo", topo, "--test", "pingall"]
    done = in_sandbox([*argv, "--switch", "lxbr", "--controller", "none"])
    count = pings(name, options)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    found = re.search(r"Results: .*", said)
    assert found is not None, said
    assert found[0] == f"Results: 0% dropped ({count}/{count} received)", said
