"""Rule: a qdisc that the kernel lacks is said before anything is built, and hosts and routers
negotiate ECN exactly where a queue of the plan may mark."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testbed.errors import EXIT_MACHINE_CANNOT, MachineError
from testbed.network.build import check_qdiscs
from testbed.network.sysctls import sysctls_of
from testbed.network.tools import Toolbox
from testbed.network.topology import Topo
from tests.unit.plans import pair, plan_of

ECN = "net.ipv4.tcp_ecn"


def asked(queue: str | None, schedule: tuple[str, ...] | None = None) -> dict[str, str | None]:
    """tcp_ecn of each node, None where it stays as the kernel has it."""

    def build(topo: Topo) -> None:
        pair(topo, capacity="10mbit", queue=queue, schedule=schedule)
        topo.addSwitch("s")
        topo.addLink("a", "s")

    plan = plan_of(build)
    return {node.name: sysctls_of(plan, node).get(ECN) for node in plan.nodes}


@pytest.mark.parametrize("queue", ["codel ecn", "fq_codel 100p ecn", "red 60kB ecn", "cake"])
def test_a_queue_that_marks(queue: str) -> None:
    assert asked(queue) == {"a": "1", "b": "1", "s": None}


@pytest.mark.parametrize("queue", [None, "50p", "codel", "fq", "red 60kB"])
def test_a_queue_that_drops(queue: str | None) -> None:
    assert asked(queue) == {"a": None, "b": None, "s": None}


def test_a_queue_that_marks_later() -> None:
    assert asked("codel", ("at 1s: queue codel ecn",)) == {"a": "1", "b": "1", "s": None}


TC = """\
#!/bin/sh
case "$*" in
    *"root codel"*) echo "Error: Specified qdisc kind is unknown." >&2; exit 2 ;;
    *) echo "$*" >> "${0%/*}/told" ;;
esac
"""
"""A tc on a kernel without codel."""


@pytest.fixture
def tc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tc").write_text(TC)
    (tmp_path / "tc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "told"


def test_a_discipline_that_the_kernel_lacks(tc: Path) -> None:
    plan = plan_of(lambda topo: pair(topo, capacity="10mbit", queue="codel ecn"))
    with pytest.raises(MachineError) as caught:
        check_qdiscs(Toolbox(), plan)
    assert str(caught.value) == (
        "the queue codel needs the codel qdisc, which this kernel refuses "
        "(Error: Specified qdisc kind is unknown.); as root: modprobe sch_codel"
    )
    assert (caught.value.exit_code, caught.value.where) == (EXIT_MACHINE_CANNOT, "--queue")


def test_each_kind_is_tried_once(tc: Path) -> None:
    plan = plan_of(lambda topo: pair(topo, capacity="10mbit", queue="red 60kB"))
    check_qdiscs(Toolbox(), plan)
    delete = "qdisc del dev lo root"
    assert tc.read_text().splitlines() == [
        "qdisc add dev lo root htb",
        delete,
        "qdisc add dev lo root red limit 60000 avpkt 1000 bandwidth 10mbit",
        delete,
    ]


def test_nothing_shaped_needs_nothing(tc: Path) -> None:
    check_qdiscs(Toolbox(), plan_of(lambda topo: pair(topo, delay="10ms")))
    assert not tc.exists()
