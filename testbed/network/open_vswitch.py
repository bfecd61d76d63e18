"""Switches of Open vSwitch, with daemons of our own inside the sandbox.

Rules:

- A switch has a namespace, as a Linux bridge has: a database and a pair of daemons for each, with
  files and sockets below the sandbox's own /run. They end with the sandbox.
- It is told to forward by itself (fail mode standalone, no controller), and to leave queues alone:
  Open vSwitch would remove what tc has set, unless a port's QoS is linux-noop
  (ovs-vswitchd.conf.db(5), table QoS).
- The kernel's datapath or none. That in user space (netdev) works without a module, but each packet
  would then wait for a process whose lateness nobody measures.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any, Final

from testbed.errors import MachineError, ReadBackError, RunError
from testbed.network.planned import NetworkPlan, NodePlan
from testbed.network.tools import Toolbox, locate

PACKAGE: Final = "openvswitch-switch"
PROGRAMS: Final = ("ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-vswitchd", "ovs-ofctl")
MASTER: Final = "ovs-system"
"""What a port of the kernel's datapath belongs to."""
DAEMONS: Final = ("ovsdb-server", "ovs-vswitchd")
_TAIL: Final = 2000
"""Characters of a log that are shown."""
_SCHEMA: Final = Path("/usr/share/openvswitch/vswitch.ovsschema")
_FOLDER: Final = Path("/run/testbed-openvswitch")
_TIMEOUT: Final = "--timeout=30"
"""Seconds that ovs-vsctl waits for the daemon to have done it; only a bound on hanging."""
_WHERE: Final = "--switches"

_NETLINK_GENERIC: Final = 16
_GENL_ID_CTRL: Final = 0x10
_CTRL_CMD_GETFAMILY: Final = 3
_CTRL_ATTR_FAMILY_NAME: Final = 2
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_ANSWER_S: Final = 10.0
"""include/uapi/linux/netlink.h, genetlink.h"""


def check_programs() -> None:
    """Finds programs of Open vSwitch that lack.

    Raises:
        MachineError: naming them and their package.
    """
    lacking = [name for name in PROGRAMS if locate(name) is None]
    if lacking:
        raise MachineError(
            f"switches of Open vSwitch need {', '.join(lacking)}: not installed; as root: "
            f"apt-get install {PACKAGE}",
            where=_WHERE,
        )


def has_datapath() -> bool:
    """Whether this kernel has the datapath: it tells by its generic netlink family."""
    name = b"ovs_datapath\0"
    attribute = struct.pack("=HH", 4 + len(name), _CTRL_ATTR_FAMILY_NAME)
    body = struct.pack("=BBH", _CTRL_CMD_GETFAMILY, 1, 0) + attribute + name.ljust(16, b"\0")
    head = struct.pack("=IHHII", 16 + len(body), _GENL_ID_CTRL, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as asked:
        asked.settimeout(_ANSWER_S)
        asked.send(head + body)
        kind = struct.unpack_from("=H", asked.recv(1 << 16), 4)[0]
    return bool(kind != _NLMSG_ERROR)


def check_datapath() -> None:
    """Finds that this kernel has no datapath.

    Raises:
        MachineError: it has none.
    """
    if not has_datapath():
        raise MachineError(
            "switches of Open vSwitch need its datapath (CONFIG_OPENVSWITCH, module openvswitch), "
            "which this kernel does not have; as root: modprobe openvswitch; or use "
            "--switches bridge",
            where=_WHERE,
        )


def environment(node: str) -> dict[str, str]:
    """The variables by which the programs find the daemons of a switch."""
    folder = str(_FOLDER / node)
    names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
    return dict.fromkeys(names, folder)


def start(tools: Toolbox, node: NodePlan) -> None:
    """Starts the daemons of a switch and makes it, with its interfaces as ports; reads it back.

    Args:
        tools: runs and remembers the commands.
        node: the switch; its interfaces are there.

    Raises:
        RunError: a command failed.
        ReadBackError: a port, or how it forwards, is not as it was set.
    """
    env, folder = environment(node.name), _FOLDER / node.name
    database = folder / "conf.db"
    inside = ["ip", "netns", "exec", node.name]
    detached = ["--pidfile", "--detach", "--no-chdir", "--log-file"]
    tools.run(["mkdir", "-p", str(folder)])
    tools.run(["ovsdb-tool", "create", str(database), str(_SCHEMA)], env=env)
    remote = f"--remote=punix:{folder}/db.sock"
    tools.run(["ovsdb-server", str(database), remote, *detached], env=env)
    tools.run(["ovs-vsctl", _TIMEOUT, "--no-wait", "init"], env=env)
    tools.run([*inside, "ovs-vswitchd", *detached], env=env)
    tools.run(["ovs-vsctl", _TIMEOUT, *_bridge_words(node)], env=env)
    _read_back(tools, node, env)


def _bridge_words(node: NodePlan) -> list[str]:
    """What makes the switch, in one transaction."""
    words = ["add-br", node.name, "--", "set-fail-mode", node.name, "standalone"]
    words += ["--", "--id=@none", "create", "qos", "type=linux-noop"]
    for interface in node.interfaces:
        words += ["--", "add-port", node.name, interface.name]
        words += ["--", "set", "port", interface.name, "qos=@none"]
    return words


def _read_back(tools: Toolbox, node: NodePlan, env: dict[str, str]) -> None:
    columns = ["--format=json", "--data=json", "--columns=name,ofport,error", "list", "interface"]
    answer = tools.run(["ovs-vsctl", _TIMEOUT, *columns], env=env, remember=False)
    check_ports(node, json.loads(answer))
    mode = ["ovs-vsctl", _TIMEOUT, "get-fail-mode", node.name]
    found = tools.run(mode, env=env, remember=False).strip()
    if found != "standalone":
        raise ReadBackError(
            f"{node.name}: fail mode was set to standalone and reads back as {found}",
            where=node.name,
            wanted="standalone",
            got=found,
        )


def check_running(plan: NetworkPlan) -> None:
    """Finds that a daemon has ended, as none may while the network stands.

    Raises:
        RunError: naming the switch, with the end of its log.
    """
    if plan.switches != "ovs":
        return
    for node in plan.with_role("switch"):
        for daemon in DAEMONS:
            folder = _FOLDER / node.name
            try:
                os.kill(int((folder / f"{daemon}.pid").read_text(encoding="ascii")), 0)
            except (FileNotFoundError, ProcessLookupError) as error:
                log = (folder / f"{daemon}.log").read_text(encoding="utf-8", errors="replace")
                raise RunError(
                    f"{daemon} of {node.name} has ended; its last lines:\n{log[-_TAIL:].strip()}",
                    where=node.name,
                ) from error


def check_ports(node: NodePlan, table: dict[str, Any]) -> None:
    """Compares the ports of a switch with the plan. Pure.

    Args:
        node: the switch.
        table: ``ovs-vsctl --format=json --data=json --columns=name,ofport,error list interface``.

    Raises:
        ReadBackError: one is not there, or was refused by the daemon.
    """
    rows = {name: (number, error) for name, number, error in table["data"]}
    for interface in node.interfaces:
        number, error = rows.get(interface.name, (None, "it is no port"))
        if isinstance(number, int) and number > 0:
            continue
        said = error if isinstance(error, str) else "it has no number"
        raise ReadBackError(
            f"{node.name}: {interface.name} is no working port of Open vSwitch: {said}",
            where=node.name,
            wanted=interface.name,
            got=number,
        )
