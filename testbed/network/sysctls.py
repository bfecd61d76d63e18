"""Sysctls of a node: what they are to be, set and read back.

Rule: nothing speaks by itself. In a run over IPv4 no interface has IPv6. Over IPv6 interfaces have
the addresses of the plan and no others: no link-local ones, so nobody solicits or advertises
routers, and nobody detects duplicates (`testbed.network.commands` says what else it takes).

They are written to /proc/sys/net by a thread that visits the node's namespace (net/sysctl_net.c
shows each task its own), instead of by a process for each node; `commands.sh` has the line of
sysctl that does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.errors import Problem, ReadBackError, RunError, ScenarioError
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import Toolbox

QUIET: Final = {
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
"""Of every namespace in which nothing is to speak IPv6."""
_IPV6: Final = {
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    "net.ipv6.conf.default.autoconf": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.dad_transmits": "0",
    "net.ipv6.conf.default.addr_gen_mode": "1",
}
"""Of a node that speaks IPv6; addr_gen_mode 1: no address by itself."""
_IPV6_FORWARDING: Final = {"net.ipv6.conf.all.forwarding": "1"}
_ROOT: Final = Path("/proc/sys")


_ELSEWHERE: Final = {"net.ipv4.tcp_congestion_control": "congestion_control"}
"""What has an option of its own, which counts more than the sysctl."""


def sysctls_of(plan: NetworkPlan, node: NodePlan) -> dict[str, str]:
    """The sysctls of a node, as they are set and as they must read back."""
    return {**_own(plan, node), **node.settings.sysctl_texts}


def check(plan: NetworkPlan) -> None:
    """Tries the sysctls that the scenario sets, in the calling thread's network namespace.

    Every value is put back. A setting that a namespace does not have of its own is not to be seen
    in any but the machine's (net/sysctl_net.c).

    Raises:
        ScenarioError: the testbed sets one by itself, the kernel does not have it in a network
            namespace, or does not take its value; all of them at once.
    """
    problems: dict[str, Problem] = {}
    tried: dict[tuple[str, str], str] = {}
    for node in plan.nodes:
        own = {**_own(plan, node), **later_sysctls_of(plan, node)}
        for name, value in node.settings.sysctl_texts.items():
            where = f"nodes, sysctl {name}"
            if name in own:
                message = f"the testbed sets it by itself, to {own[name]} in {node.name}"
            elif name in _ELSEWHERE:
                message = f"is set by the option {_ELSEWHERE[name]}"
            else:
                if (name, value) not in tried:
                    tried[name, value] = _try(name, value)
                message = tried[name, value]
            if message:
                problems.setdefault(f"{where} {message}", Problem(where, message))
    if problems:
        raise ScenarioError(list(problems.values()))


def _try(name: str, value: str) -> str:
    """Why the kernel does not take it; nothing: it does."""
    path = _path(name)
    if not path.is_file():
        return "this kernel has no such setting in a network namespace"
    try:
        before = path.read_text(encoding="ascii")
        path.write_text(f"{value}\n", encoding="ascii")
        got = " ".join(path.read_text(encoding="ascii").split())
        path.write_text(before, encoding="ascii")
    except PermissionError:
        return "belongs to the whole machine, not to a network namespace"
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f'the kernel refuses "{value}": {reason}'
    return "" if got == value else f'"{value}" reads back as "{got}"'


def _own(plan: NetworkPlan, node: NodePlan) -> dict[str, str]:
    """What the testbed sets by itself before there are interfaces."""
    over_6 = plan.ip == 6 and node.role != "switch"
    forwards = node.role == "router" and not over_6
    found = {**(_IPV6 if over_6 else QUIET), "net.ipv4.ip_forward": "1" if forwards else "0"}
    if node.spread == "flows" and any(route.others for route in node.addressing.routes):
        # By addresses and ports: 1 in Documentation/networking/ip-sysctl.rst.
        found[f"net.ipv{plan.ip}.fib_multipath_hash_policy"] = "1"
    if node.role != "switch" and plan.marks:
        # Both ends must ask for it (RFC 3168, 6.1.1); Linux only answers unless told (tcp(7)).
        found["net.ipv4.tcp_ecn"] = "1"
    return found


def later_sysctls_of(plan: NetworkPlan, node: NodePlan) -> dict[str, str]:
    """The sysctls of a node that wait until its interfaces have neither ARP nor multicast.

    A router's interface would otherwise join the group of all routers, and report that
    (dev_forward_change, net/ipv6/addrconf.c).
    """
    return _IPV6_FORWARDING if plan.ip == 6 and node.role == "router" else {}


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
