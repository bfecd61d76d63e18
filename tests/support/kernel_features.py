"""What the kernel that runs these tests can do."""

from __future__ import annotations

import functools
from typing import Final

from tests.support.sandboxes import in_sandbox

QDISCS: Final = {
    "netem": "delay 1ms",
    "codel": "",
    "fq_codel": "",
    "cake": "",
    "red": "limit 75700 avpkt 1514 bandwidth 10mbit",
    "pie": "",
    "fq": "",
}
"""Kinds that the testbed uses where there are any, with the arguments that they cannot do
without."""
OPEN_VSWITCH: Final = "openvswitch"
"""Its datapath, which tells that it is there by its generic netlink family."""

_SCRIPT: Final = "PATH=$PATH:/usr/sbin:/sbin\n" + "".join(
    f"tc qdisc add dev lo root {kind} {options} && echo {kind} && tc qdisc del dev lo root\n"
    for kind, options in QDISCS.items()
) + f"genl ctrl get name ovs_datapath >/dev/null && echo {OPEN_VSWITCH}\ntrue\n"  # fmt: skip


@functools.cache
def found() -> frozenset[str]:
    """Which of QDISCS and OPEN_VSWITCH this kernel has; each was tried, in a sandbox.

    Raises:
        AssertionError: there are no sandboxes.
    """
    done = in_sandbox(["sh", "-c", _SCRIPT])
    assert done.returncode == 0, done.stderr
    return frozenset(done.stdout.split())
