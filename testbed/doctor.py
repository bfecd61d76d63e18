"""What this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.errors import ToolMissingError
from testbed.network.tools import locate
from testbed.sandbox.tracing import instance_kept

TOOLS: Final = {
    "ip": "iproute2",
    "tc": "iproute2",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
    "mnexec": "mininet",
    "ifconfig": "net-tools",
    "dumpcap": "wireshark-common",
}
"""Programs that a run needs and the Debian packages that have them."""
SHELL_TOOLS: Final = {"ping": "iputils-ping", "iperf3": "iperf3"}
"""Programs that people use in `testbed shell`."""
SPREAD_TOOLS: Final = {"nft": "nftables"}
"""Programs that topologies need which spread packets over several ways."""

TUN_REMEDY: Final = "sudo modprobe tun && sudo chmod 666 /dev/net/tun"


@dataclass(frozen=True, slots=True)
class Ability:
    """One thing that a machine can or cannot do."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    """The command or change that brings it; empty where it is there or cannot be had."""
    needed_for: str = ""
    """What does not work without it."""
    required: bool = True
    """Whether a run fails without it."""


def missing_tools() -> dict[str, str]:
    """Programs that a run needs and this machine lacks, with their Debian packages."""
    return {tool: package for tool, package in TOOLS.items() if locate(tool) is None}


def not_executable() -> list[str]:
    """Programs that a run needs, that are there, and that this user may not run."""
    folders = [*os.get_exec_path(), "/usr/sbin", "/sbin"]
    return [
        tool
        for tool in TOOLS
        if locate(tool) is None and any(Path(folder, tool).is_file() for folder in folders)
    ]


def install_line(packages: set[str]) -> str:
    """The command that installs Debian packages."""
    # wireshark-common would ask who may capture, and "yes" shuts ordinary users out of dumpcap.
    apt = "sudo DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
    return " ".join([apt, *sorted(packages)])


def check_tools() -> None:
    """Finds programs that a run needs and that this user cannot run.

    Raises:
        ToolMissingError: with the line that installs them.
    """
    shut = not_executable()
    if shut:
        raise ToolMissingError(
            f"you may not run {', '.join(shut)}; where it belongs to a group, as Debian's dumpcap "
            "does when asked so: sudo adduser $USER wireshark, then log in again",
            where="this machine",
        )
    missing = missing_tools()
    if missing:
        raise ToolMissingError(
            f"not installed: {', '.join(missing)}; "
            f"install with: {install_line(set(missing.values()))}",
            where="this machine",
        )


def check_spread_tools() -> None:
    """Finds programs that lack for a topology that spreads packets over several ways.

    Raises:
        ToolMissingError: with the line that installs them.
    """
    missing = {tool: package for tool, package in SPREAD_TOOLS.items() if locate(tool) is None}
    if missing:
        raise ToolMissingError(
            f"this topology spreads packets over several ways, which needs {', '.join(missing)}: "
            f"not installed; install with: {install_line(set(missing.values()))}",
            where="this machine",
        )


def examine() -> list[Ability]:
    """Everything that a run uses, tried out where it can be."""
    return [
        _python(),
        _sandbox(),
        *(_tool(tool, package) for tool, package in TOOLS.items()),
        *(
            _tool(tool, package, f"using {tool} in `testbed shell`")
            for tool, package in SHELL_TOOLS.items()
        ),
        *(
            _tool(tool, package, "topologies that spread packets over several ways")
            for tool, package in SPREAD_TOOLS.items()
        ),
        _tun(),
        _in_sandbox(
            "netem",
            "tc qdisc add dev lo root netem",
            "kernel module sch_netem",
            "--link-backend kernel (the relay backend does without)",
        ),
        _in_sandbox(
            "htb",
            "tc qdisc add dev lo root htb",
            "kernel module sch_htb",
            "--capacity",
            required=True,
        ),
        _open_vswitch(),
        _congestion_control(),
        _real_time(),
        _tracepoints(),
    ]


def _python() -> Ability:
    ok = sys.version_info >= (3, 11)
    return Ability(
        "python", ok, sys.version.split()[0], "" if ok else "install Python 3.11 or newer"
    )


def _tool(tool: str, package: str, only_for: str = "") -> Ability:
    """Whether a program is there; `only_for`: what it is needed for, where not for every run."""
    path = locate(tool)
    return Ability(
        tool,
        path is not None,
        path or "not installed",
        "" if path else install_line({package}),
        only_for or "every run",
        not only_for,
    )


def _run_in_sandbox(script: str) -> subprocess.CompletedProcess[str]:
    read, write = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-m", "testbed.sandbox", str(read), "sh", "-c", script],
            pass_fds=[read],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(read)
        os.close(write)


def _sandbox() -> Ability:
    done = _run_in_sandbox("true")
    how = "as root" if os.geteuid() == 0 else "as an ordinary user"
    message = done.stderr.strip().removeprefix("testbed: error: ")
    return Ability(
        "private namespaces",
        done.returncode == 0,
        f"work {how}" if done.returncode == 0 else message,
        "" if done.returncode == 0 else message.rpartition(". ")[2],
        "every run",
    )


def _in_sandbox(
    name: str, script: str, remedy: str, needed_for: str, *, required: bool = False
) -> Ability:
    path = "PATH=$PATH:/usr/sbin:/sbin; "
    done = _run_in_sandbox(path + script)
    ok = done.returncode == 0
    detail = "works" if ok else (done.stderr.strip().splitlines() or ["failed"])[0]
    return Ability(name, ok, detail, "" if ok else remedy, needed_for, required)


def _tun() -> Ability:
    ok = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    return Ability(
        "/dev/net/tun",
        ok,
        "may be opened" if ok else "may not be opened",
        "" if ok else TUN_REMEDY,
        "--link-backend relay",
    )


def _open_vswitch() -> Ability:
    from testbed.network import open_vswitch  # it knows plans, and those the scenario

    lacking = [name for name in open_vswitch.PROGRAMS if locate(name) is None]
    remedy = ""
    if not open_vswitch.has_datapath():
        detail, remedy = "this kernel has no datapath", "kernel module openvswitch"
    elif lacking:
        detail = f"not installed: {', '.join(lacking)}"
        remedy = install_line({open_vswitch.PACKAGE})
    else:
        detail = "datapath and programs are there"
    return Ability(
        "Open vSwitch", not remedy, detail, remedy, "--switches ovs (bridges do without)", False
    )


def _congestion_control() -> Ability:
    path = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    available = path.read_text(encoding="ascii").split()
    ok = "cubic" in available
    return Ability(
        "congestion control",
        ok,
        ", ".join(available),
        "" if ok else "sudo modprobe tcp_cubic",
        "--congestion-control cubic, the default",
    )


def _real_time() -> Ability:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        ],
        capture_output=True,
        check=False,
    )
    ok = done.returncode == 0
    return Ability(
        "SCHED_FIFO",
        ok,
        "may be used" if ok else "may not be used by this user",
        "" if ok else "run as root, or raise RLIMIT_RTPRIO for this user",
        "the relay's punctuality under load",
        False,
    )


def _tracepoints() -> Ability:
    with instance_kept() as access:
        ok = bool(access.instance)
    return Ability(
        "tracepoints",
        ok,
        "may be read" if ok else access.reason,
        "" if ok else "run as root, on a kernel with CONFIG_FTRACE",
        "drop reasons, softirqs, the way to the socket, wake-ups",
        False,
    )
