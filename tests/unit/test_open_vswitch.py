"""Rule: switches of Open vSwitch are made in one transaction that leaves queues alone, and what
this machine lacks for them is said with exit code 3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import EXIT_MACHINE_CANNOT, MachineError, ReadBackError, RunError
from testbed.network import commands, open_vswitch, read_back
from testbed.network.open_vswitch import _bridge_words
from testbed.network.planned import NetworkPlan
from testbed.network.topology import Topo
from tests.unit.plans import pair, plan_of, problems_of

MACS = {"s1-eth1": "02:00:00:00:01:02", "s1-eth2": "02:00:00:00:02:02"}


def switched(topo: Topo) -> None:
    """a - s1 - b."""
    topo.addSwitch("s1")
    for name in ("a", "b"):
        topo.addHost(name)
        topo.addLink(name, "s1")


def plan() -> NetworkPlan:
    return plan_of(switched, switches="ovs")


def test_a_switch_is_made_in_one_transaction() -> None:
    assert " ".join(_bridge_words(plan().node("s1"))) == (
        "add-br s1 -- set-fail-mode s1 standalone -- --id=@none create qos type=linux-noop "
        "-- add-port s1 s1-eth1 -- set port s1-eth1 qos=@none "
        "-- add-port s1 s1-eth2 -- set port s1-eth2 qos=@none"
    )


@pytest.mark.parametrize(
    ("switches", "lines"),
    [
        ("ovs", []),
        (
            "bridge",
            [
                "link add s1 type bridge stp_state 0 mcast_snooping 0",
                "link set s1-eth1 master s1",
                "link set s1-eth2 master s1",
                "link set s1 up",
            ],
        ),
    ],
)
def test_only_a_bridge_is_made_by_ip(switches: str, lines: list[str]) -> None:
    network = plan_of(switched, switches=switches)
    made = commands.node_lines(network, network.node("s1"), MACS, "cubic")
    assert [line for line in made if "master" in line or " s1 " in f"{line} "] == lines
    assert "link set s1-eth1 up" in made


@pytest.mark.parametrize(("switches", "master"), [("ovs", "ovs-system"), ("bridge", "s1")])
def test_a_port_belongs_to_the_datapath_or_to_its_bridge(switches: str, master: str) -> None:
    network = plan_of(switched, switches=switches)
    links = [
        {"ifname": name, "flags": ["UP"], "address": mac, "master": master}
        for name, mac in MACS.items()
    ]
    node = network.node("s1")
    assert read_back.addresses_of(network, node, links) == {"s1-eth1": [], "s1-eth2": []}
    with pytest.raises(ReadBackError, match="s1: s1-eth1 master was set to "):
        read_back.addresses_of(network, node, [{**links[0], "master": "other"}, links[1]])


def rows(*data: list[Any]) -> dict[str, Any]:
    return {"headings": ["name", "ofport", "error"], "data": list(data)}


NONE = ["set", []]


def test_ports_that_work() -> None:
    table = rows(["s1", 65534, NONE], ["s1-eth2", 2, NONE], ["s1-eth1", 1, NONE])
    open_vswitch.check_ports(plan().node("s1"), table)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["other", 2, NONE], "it is no port"),
        (["s1-eth2", -1, "could not open network device s1-eth2"], "could not open network device"),
        (["s1-eth2", NONE, NONE], "it has no number"),
    ],
)
def test_a_port_that_does_not_work(row: list[Any], said: str) -> None:
    with pytest.raises(ReadBackError, match=f"s1: s1-eth2 is no working port .*: {said}"):
        open_vswitch.check_ports(plan().node("s1"), rows(["s1-eth1", 1, NONE], row))


def test_a_topology_without_switches() -> None:
    assert problems_of(pair, switches="ovs") == ["switches: the topology t has no switch"]


def test_programs_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"ovsdb-tool", "ovs-vsctl", "ovs-ofctl"}
    monkeypatch.setattr(open_vswitch, "locate", lambda name: name if name in found else None)
    with pytest.raises(MachineError) as caught:
        open_vswitch.check_programs()
    assert str(caught.value) == (
        "switches of Open vSwitch need ovsdb-server, ovs-vswitchd: not installed; as root: "
        "apt-get install openvswitch-switch"
    )
    assert (caught.value.exit_code, caught.value.where) == (EXIT_MACHINE_CANNOT, "--switches")


def test_a_kernel_without_the_datapath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_vswitch, "has_datapath", lambda: False)
    with pytest.raises(MachineError, match="as root: modprobe openvswitch; or use --switches bri"):
        open_vswitch.check_datapath()


def test_a_daemon_that_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_vswitch, "_FOLDER", tmp_path)
    (tmp_path / "s1").mkdir()
    for daemon in open_vswitch.DAEMONS:
        (tmp_path / "s1" / f"{daemon}.pid").write_text(f"{os.getpid()}\n")
        (tmp_path / "s1" / f"{daemon}.log").write_text(f"{daemon} says\n")
    open_vswitch.check_running(plan())
    (tmp_path / "s1" / "ovs-vswitchd.pid").unlink()  # as it does when it ends
    with pytest.raises(RunError) as caught:
        open_vswitch.check_running(plan())
    assert str(caught.value) == ("ovs-vswitchd of s1 has ended; its last lines:\novs-vswitchd says")
    open_vswitch.check_running(plan_of(switched))  # bridges have no daemon
