"""Rule: a network of many nodes is observed like a small one: every node captured and sampled, none
left out, within descriptors, memory and time that a machine has."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from testbed import run
from testbed.probes.link import BUFFER_MIB, LEAST_BUFFER_MIB, buffer_mib
from testbed.recording.layout import Layout
from testbed.scenario import Load, Scenario
from tests.support.runs import manifest_of

HOSTS = 40
REQUESTS = 23
STAR = '''
from mininet.topo import Topo


class Star(Topo):
    """Hosts around one switch, shaped, every second link with a wire."""

    def build(self, n):
        self.addSwitch("s1")
        for number in range(1, n + 1):
            self.addHost(f"h{number}")
            wire = {"delay": "1ms"} if number % 2 else {}
            self.addLink(f"h{number}", "s1", reverse={"capacity": "100mbit"}, **wire)
'''


def test_a_star_of_many_hosts_with_all_probes(tmp_path: Path) -> None:
    (tmp_path / "star.py").write_text(STAR)
    asked = Scenario(
        topology=f"{tmp_path}/star.py:Star",
        topology_options={"n": HOSTS},
        load=Load(users=1, requests=REQUESTS),
        probes="all",
        seed=7,
    )
    done = run(asked, tmp_path / "run")
    manifest, layout = manifest_of(done.root), Layout(done.root)
    assert (manifest.state, done.http.completed) == ("complete", REQUESTS)
    names = {"s1", *(f"h{number}" for number in range(1, HOSTS + 1))}
    assert {path.name.partition(".")[0] for path in layout.captures()} == names
    assert sum(link.wire == "relay" for link in manifest.links) == HOSTS // 2
    assert [row for row in done.summary.ledger.rows if row.balanced is False] == []
    # Every node is sampled: its counters, and its queues.
    for table in ("ip", "qdisc"):
        seen = pl.read_parquet(layout.events(table))["node"]
        assert set(seen) == names
    [sampler] = [one for one in manifest.processes if one.name == "sampler"]
    assert int(sampler.about["interval_ns"]) >= 10_000_000
    assert [process.exit_code for process in manifest.processes if process.kind == "capture"] == [
        0 for _ in names
    ]


@pytest.mark.parametrize(
    ("interfaces", "mib"),
    [
        (0, BUFFER_MIB),
        (4, BUFFER_MIB),
        (32, BUFFER_MIB),
        (64, 8),
        (200, 2),
        (1000, LEAST_BUFFER_MIB),
    ],
)
def test_rings_of_many_interfaces_share_the_memory(interfaces: int, mib: int) -> None:
    assert buffer_mib(interfaces) == mib
