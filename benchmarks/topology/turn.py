"""One turn in a sandbox of its own: `python -m benchmarks.topology.turn SUBJECT HOSTS FOLDER`.

Builds the network, then ends it. Writes a line of JSON on standard output when the network stands
and all is known but its end, which is the sandbox's and is measured from outside.

Rules:

- Time starts when everything is imported and the `Topo` is made, for both alike.
- Standing: for Mininet `build` and `start`; for the testbed that every setting was read back, and
  that the relay has its devices open where links have one.
- Forwarding: every port of the switch forwards; neither Mininet's start nor the testbed's waits for
  it, the testbed waits before it sends anything.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from pathlib import Path

import msgspec

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mininet 2.3 imports distutils and has invalid escapes
    from mininet.net import Mininet
    from mininet.nodelib import LinuxBridge

from benchmarks.topology import star
from benchmarks.topology.results import CAPACITY, DELAY, MININET, MININET_TC, Standing
from testbed.live import observers
from testbed.live.processes import Processes
from testbed.network.build import build
from testbed.network.carrier import wait_until_up
from testbed.network.plan import make_plan
from testbed.recording.layout import Layout
from testbed.scenario import Scenario

_TOPOLOGIES = {
    MININET: star.PlainStar,
    MININET_TC: star.TcStar,
    CAPACITY: star.CapacityStar,
    DELAY: star.DelayStar,
}


def main(subject: str, hosts: int, folder: Path) -> int:
    """Builds and ends the network; returns the exit code."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    topo = _TOPOLOGIES[subject](n=hosts)
    if subject in (MININET, MININET_TC):
        _mininet(topo)
    else:
        _testbed(topo, Layout(folder))
    return 0


def _mininet(topo: star.PlainStar) -> None:
    began = time.monotonic()
    net = Mininet(topo=topo, switch=LinuxBridge, controller=None)
    net.start()
    stood = time.monotonic()
    if not net.waitConnected(timeout=60, delay=0.02):
        raise RuntimeError("a port does not forward")
    _tell(began, stood)
    net.stop()


def _testbed(topo: star.PlainStar, layout: Layout) -> None:
    began = time.monotonic()
    with Processes(layout) as processes:
        plan = make_plan(topo, Scenario(topology="star", seed=1), "relay")
        build(plan, "cubic")
        observers.start_relay(processes, layout, plan, 1, None)
        stood = time.monotonic()
        wait_until_up(plan)
        _tell(began, stood)
        observers.end_relay(processes)


def _tell(began: float, stood: float) -> None:
    now = time.monotonic()
    found = Standing(start_s=stood - began, forwarding_s=now - began, told_at_s=now)
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
