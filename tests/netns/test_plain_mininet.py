"""Rule: every file of topologies/ is plain Mininet, and Mininet's own topologies are the testbed's.

`mn` runs in a sandbox as everything here: what it changes and what it cleans up is the sandbox's.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import mininet
import pytest

from testbed import run
from testbed.errors import EXIT_WRONG_REQUEST, ScenarioError
from testbed.recording.manifest import Manifest
from testbed.scenario import Load, Scenario
from tests.support.people import REPOSITORY
from tests.support.runs import manifest_of
from tests.support.sandboxes import in_sandbox

TOPOLOGIES = sorted(path.stem for path in (REPOSITORY / "topologies").glob("*.py"))
MN = Path(sys.executable).with_name("mn")
PACKAGE = Path(mininet.__file__).parent
REQUESTS = 7


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_mn_pings_between_all_hosts(name: str) -> None:
    # Mininet's default switch is Open vSwitch, which many kernels lack; lxbr is its Linux bridge.
    if shutil.which("brctl", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("brctl is not installed, which Mininet's LinuxBridge needs (bridge-utils)")
    words = ["--custom", f"topologies/{name}.py", "--topo", name]
    words += ["--switch", "lxbr", "--controller", "none", "--test", "pingall"]
    done = in_sandbox([sys.executable, "-W", "ignore", str(MN), *words])
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    found = re.search(r"Results: (\d+)% dropped \((\d+)/(\d+) received\)", said)
    assert found is not None, said
    assert (found[1], found[2]) == ("0", found[3]), said
    assert int(found[3]) >= 2


MINE = '''
from mininet.link import TCLink
from mininet.topo import (
    LinearTopo, MinimalTopo, SingleSwitchReversedTopo, SingleSwitchTopo, Topo
)


class MyTopo(Topo):
    """Two switches, a host at each, as in Mininet's custom/topo-2sw-2host.py."""

    def build(self):
        left, right = self.addHost("h1"), self.addHost("h2")
        one, two = self.addSwitch("s3"), self.addSwitch("s4")
        self.addLink(left, one)
        self.addLink(one, two)
        self.addLink(two, right)


topos = {"mytopo": lambda: MyTopo()}


class Performance(Topo):
    """A switch with shaped, lossy links, as in Mininet's examples/simpleperf.py."""

    def build(self, n=2, lossy=True):
        switch = self.addSwitch("s1")
        for number in range(n):
            host = self.addHost(f"h{number + 1}", cpu=0.5 / n)
            self.addLink(
                host, switch, cls=TCLink, bw=10, delay="5ms", loss=1 if lossy else 0, use_htb=True
            )
'''
CASES = [
    pytest.param("mine.py:MinimalTopo", {}, "h1", "h2", id="MinimalTopo"),
    pytest.param("mine.py:SingleSwitchTopo", {"k": 4}, "h1", "h4", id="SingleSwitchTopo"),
    pytest.param(
        "mine.py:SingleSwitchReversedTopo", {"k": 3}, "h1", "h3", id="SingleSwitchReversedTopo"
    ),
    pytest.param("mine.py:LinearTopo", {"k": 3, "n": 2}, "h1s1", "h2s3", id="LinearTopo"),
    pytest.param(
        f"{PACKAGE}/topolib.py:TreeTopo", {"depth": 2, "fanout": 3}, "h1", "h9", id="TreeTopo"
    ),
    pytest.param("mine.py:MyTopo", {}, "h1", "h2", id="topo-2sw-2host"),
    pytest.param("mine.py:Performance", {"lossy": False}, "h1", "h2", id="simpleperf"),
    pytest.param(
        f"{PACKAGE}/examples/linuxrouter.py:NetworkTopo", {}, "h1", "h3", id="linuxrouter"
    ),
    pytest.param(
        f"{PACKAGE}/examples/multilink.py:simpleMultiLinkTopo", {"n": 2}, "h1", "h2",
        id="multilink",
    ),
    pytest.param(
        f"{PACKAGE}/examples/linearbandwidth.py:LinearTestTopo", {"N": 3}, "h1", "h3",
        id="linearbandwidth",
    ),
]  # fmt: skip
"""Target, options, and which host must have become the client and which the server."""


def scenario(target: str, options: dict[str, Any], folder: Path) -> Scenario:
    (folder / "mine.py").write_text(MINE)
    if target.startswith("mine.py"):
        target = f"{folder}/{target}"
    return Scenario(
        topology=target,
        topology_options=options,
        load=Load(users=1, requests=REQUESTS),
        probes="none",
        seed=7,
    )


def with_role(manifest: Manifest, role: str) -> list[str]:
    return [node.name for node in manifest.nodes if node.role == role]


@pytest.mark.parametrize(("target", "options", "client", "server"), CASES)
def test_a_topology_of_mininet_runs_as_it_is(
    target: str, options: dict[str, Any], client: str, server: str, tmp_path: Path
) -> None:
    done = run(scenario(target, options, tmp_path), tmp_path / "run")
    manifest = manifest_of(done.root)
    assert (done.http.requests, done.http.completed) == (REQUESTS, REQUESTS)
    assert (with_role(manifest, "client"), with_role(manifest, "server")) == ([client], [server])


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        pytest.param(
            f"{PACKAGE}/topolib.py:TorusTopo",
            {"x": 3, "y": 3},
            "topology: the switches s1x1, s1x2, s1x3, s2x1, s2x2, s2x3, s3x1, s3x2, s3x3 form a "
            "loop",
            id="a loop of switches",
        ),
        pytest.param(
            f"{PACKAGE}/examples/natnet.py:InternetTopo",
            {},
            "node nat1: cls: NAT translates addresses, which no node does here; ",
            id="NAT",
        ),
    ],
)
def test_what_the_testbed_cannot_do_is_refused_by_name(
    target: str, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError) as caught:
        run(scenario(target, options, tmp_path), tmp_path / "run")
    assert said in str(caught.value)
    assert caught.value.exit_code == EXIT_WRONG_REQUEST
