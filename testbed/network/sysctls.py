"""Sysctls of a node: what they are to be, set and read back.

They are written to /proc/sys/net by a thread that visits the node's namespace (net/sysctl_net.c
shows each task its own), instead of by a process for each node; `commands.sh` has the line of
sysctl that does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.errors import ReadBackError, RunError
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import Toolbox

QUIET: Final = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
"""Of every namespace, so that no interface ever speaks IPv6 by itself."""
_ROOT: Final = Path("/proc/sys")


def sysctls_of(plan: NetworkPlan, node: NodePlan) -> dict[str, str]:
    """The sysctls of a node, as they are set and as they must read back."""
    forwards = {"net.ipv4.ip_forward": "1" if node.role == "router" else "0"}
    if node.role == "switch" or not plan.marks:
        return {**QUIET, **forwards}
    # Both ends must ask for it (RFC 3168, 6.1.1); Linux only answers unless it is told (tcp(7)).
    return {**QUIET, **forwards, "net.ipv4.tcp_ecn": "1"}


def write(tools: Toolbox, settings: Mapping[str, str], *, node: str = "") -> None:
    """Sets sysctls in the calling thread's network namespace.

    Args:
        tools: remembers it.
        settings: name to value.
        node: whose namespace it is, for `commands.sh`; empty: the sandbox's own.

    Raises:
        RunError: the kernel has no such setting, or refuses the value.
    """
    inside = ["ip", "netns", "exec", node] if node else []
    words = [f"{name}={value}" for name, value in settings.items()]
    tools.remember([*inside, "sysctl", "-q", "-w", *words])
    for name, value in settings.items():
        try:
            _path(name).write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            raise _failed(node, f"sysctl {name} cannot be set to {value}: {error}") from error


def read_back(settings: Mapping[str, str], *, node: str = "") -> dict[str, str]:
    """The settings as the calling thread's network namespace has them.

    Raises:
        RunError: one cannot be read.
        ReadBackError: one is another than it was set to.
    """
    found = {}
    for name, wanted in settings.items():
        try:
            found[name] = " ".join(_path(name).read_text(encoding="ascii").split())
        except OSError as error:
            raise _failed(node, f"sysctl {name} cannot be read: {error}") from error
        if found[name] != wanted:
            raise ReadBackError(
                f"{node}: {name} was set to {wanted} and reads back as {found[name]}",
                where=node,
                wanted=wanted,
                got=found[name],
            )
    return found


def _path(name: str) -> Path:
    return _ROOT / name.replace(".", "/")


def _failed(node: str, message: str) -> RunError:
    return RunError(f"{node}: {message}" if node else message, where=node or "sandbox")
