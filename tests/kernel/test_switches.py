"""Rule: hosts talk across switches, Linux's bridge and Open vSwitch's, and nothing of either is
seen outside the sandbox.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from testbed import Link, Load, Scenario, run
from testbed.network.tools import locate
from tests.support import host, kernel_features
from tests.support.people import home_of_ordinary_user
from tests.support.runs import manifest_of
from tests.support.sandboxes import in_sandbox

BRIDGED = '''\
"""client --- s1 ==bottleneck== s2 --- server"""

from mininet.topo import Topo


class Bridged(Topo):
    def build(self):
        self.addHost("client", role="client")
        self.addSwitch("s1")
        self.addSwitch("s2")
        self.addHost("server", role="server")
        self.addLink("client", "s1")
        self.addLink("s1", "s2", bottleneck=True)
        self.addLink("s2", "server")
'''

OPEN_VSWITCH = """\
set -eu
PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d)
export OVS_RUNDIR=$folder OVS_LOGDIR=$folder OVS_DBDIR=$folder OVS_SYSCONFDIR=$folder
ovsdb-tool create "$folder/conf.db" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server "$folder/conf.db" --remote="punix:$folder/db.sock" --pidfile --detach --no-chdir
ovs-vsctl --no-wait init
ovs-vswitchd --pidfile --detach --no-chdir --log-file
ovs-vsctl --timeout=30 add-br s1
for host in 1 2; do
    ip netns add "h$host"
    ip link add "s1-eth$host" type veth peer name eth0 netns "h$host"
    ip -n "h$host" address add "10.0.0.$host/24" dev eth0
    ip -n "h$host" link set eth0 up
    ip link set "s1-eth$host" up
    ovs-vsctl --timeout=30 add-port s1 "s1-eth$host"
done
ip netns exec h1 ping -c 5 -i 0.2 -W 10 10.0.0.2
ovs-dpctl show
"""
"""Two hosts at a bridge of Open vSwitch; daemons, database and sockets are the sandbox's own."""


def test_links_of_netem_between_linux_bridges(tmp_path: Path) -> None:
    (tmp_path / "bridged.py").write_text(BRIDGED, encoding="utf-8")
    asked = Scenario(
        topology=f"{tmp_path / 'bridged.py'}:Bridged",
        link=Link(capacity="10mbit", delay="10ms"),
        load=Load(users=2, requests=10),
        link_backend="kernel",
        probes="light",
        seed=7,
    )
    done = run(asked, tmp_path / "run")
    assert (done.http.requests, done.http.completed) == (10, 10)
    assert [row for row in done.summary.ledger.rows if row.balanced is False] == []
    manifest = manifest_of(done.root)
    assert {node.name: node.role for node in manifest.nodes if node.name.startswith("s")} == {
        "s1": "switch",
        "s2": "switch",
        "server": "server",
    }
    assert {link.name: link.wire for link in manifest.links}["s1-s2"] == "kernel"
    for direction in done.summary.links["s1-s2"].values():
        assert direction.one_way_delay_ns is not None
        assert direction.one_way_delay_ns.min >= 10_000_000


BUILD = """
import subprocess, sys
from pathlib import Path
from testbed.live.conduct import build_network
from testbed.network.carrier import wait_until_up
from testbed.scenario import Scenario

network = build_network(Scenario(topology=sys.argv[1], switches="ovs", link_backend="kernel"))
wait_until_up(network.plan)
print(network.mininet.pingPair(), flush=True)
print(network.mininet["s1"].dpctl("dump-flows"), flush=True)
for name in ("s1", "s2"):
    subprocess.run(["ip", "netns", "exec", name, "ovs-dpctl", "show"], check=True, env={
        "OVS_RUNDIR": f"/run/testbed-openvswitch/{name}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"
    })
    subprocess.run(["tc", "-n", name, "qdisc", "show"], check=True)
"""
"""Builds BRIDGED with switches of Open vSwitch, pings, and shows what the tools see of it."""


def _needs_open_vswitch() -> None:
    if kernel_features.OPEN_VSWITCH not in kernel_features.found():
        pytest.skip("this kernel has no Open vSwitch")
    if locate("ovs-vswitchd") is None:
        pytest.skip("Debian's openvswitch-switch is not installed")


def test_a_run_through_switches_of_open_vswitch(tmp_path: Path) -> None:
    _needs_open_vswitch()
    before = host.look()
    (tmp_path / "bridged.py").write_text(BRIDGED, encoding="utf-8")
    asked = Scenario(
        topology=f"{tmp_path / 'bridged.py'}:Bridged",
        link=Link(capacity="10mbit", delay="10ms"),
        load=Load(users=2, requests=10),
        link_backend="kernel",
        switches="ovs",
        probes="light",
        seed=7,
    )
    done = run(asked, tmp_path / "run")
    assert (done.http.requests, done.http.completed) == (10, 10)
    assert [row for row in done.summary.ledger.rows if row.balanced is False] == []
    assert done.summary.scenario["switches"] == "ovs"
    script = (done.root / "commands.sh").read_text()
    assert script.count("ovs-vswitchd --pidfile --detach") == 2
    assert "type bridge" not in script
    for direction in done.summary.links["s1-s2"].values():
        assert direction.one_way_delay_ns is not None
        assert direction.one_way_delay_ns.min >= 10_000_000
    assert host.changes(before, host.look()) == []


@pytest.mark.parametrize("ordinary_user", [False, True], ids=["root", "ordinary user"])
def test_switches_of_open_vswitch_are_built(ordinary_user: bool) -> None:
    _needs_open_vswitch()
    with home_of_ordinary_user() as folder:
        text = BRIDGED.replace("bottleneck=True", 'capacity="10mbit", queue="50p"')
        (folder / "bridged.py").write_text(text, encoding="utf-8")
        done = in_sandbox(
            [sys.executable, "-W", "ignore", "-c", BUILD, f"{folder / 'bridged.py'}:Bridged"],
            ordinary_user=ordinary_user,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "0.0"  # percent of the pings lost
    assert "actions=NORMAL" in done.stdout
    # The kernel's datapath, not the one in user space; a namespace, and so a datapath, for each.
    assert lines.count("system@ovs-system:") == 2
    ports = re.findall(r"port \d+: (s\d-eth\d)", done.stdout)
    assert ports == ["s1-eth1", "s1-eth2", "s2-eth1", "s2-eth2"]
    # What tc has set is still there: Open vSwitch leaves the queues of its ports alone.
    assert re.findall(r"qdisc pfifo 10: dev (\S+) parent 1:10 limit 50p", done.stdout) == [
        "s1-eth2",
        "s2-eth1",
    ]


@pytest.mark.parametrize("ordinary_user", [False, True], ids=["root", "ordinary user"])
def test_open_vswitch_runs_in_a_sandbox(ordinary_user: bool) -> None:
    _needs_open_vswitch()
    before = host.look()
    done = in_sandbox(["sh", "-c", OPEN_VSWITCH], ordinary_user=ordinary_user)
    assert done.returncode == 0, done.stderr
    assert "5 packets transmitted, 5 received" in done.stdout
    # The kernel's datapath, not the one in user space, has both ports.
    assert re.search(r"^system@ovs-system:$", done.stdout, re.MULTILINE)
    assert re.findall(r"port \d+: (s1-eth\d)", done.stdout) == ["s1-eth1", "s1-eth2"]
    assert host.changes(before, host.look()) == []
