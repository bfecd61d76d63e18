"""How many descriptors each process of a run may have.

Rules:

- The testbed's own processes may have as many as the machine gives: a node takes this one three and
  the sampler five, so that the usual limit of 1024 would end at some two hundred nodes.
- Servers and clients have what the scenario says, else what the testbed was started with: they are
  what is observed.
- Only the soft limit is set: it is what accept(2) and open(2) look at.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed.errors import MachineError, ReadBackError
from testbed.live.processes import Processes
from testbed.network.plan import NetworkPlan, NodePlan
from testbed.network.tools import find_tool

_ENOUGH: Final = 2**16
"""Far more than the largest network takes."""


def raise_own_limit() -> int | None:
    """Lets this process and its children have more; the soft limit that it had, None: no limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return soft


def limited(argv: Sequence[str], node: NodePlan, usual: int | None) -> list[str]:
    """The command of a process in `node` with the limit that it is to have.

    Args:
        argv: the command.
        node: where it runs.
        usual: the limit where the scenario says nothing; None: this process's own.

    Raises:
        MachineError: it is higher than this process may give.
    """
    limit = usual if node.settings.descriptors is None else node.settings.descriptors
    if limit is None:
        return list(argv)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and limit > most:
        raise MachineError(
            f"{node.name}: a process may have {most} descriptors here at most (ulimit -Hn), and "
            f"{limit} are asked for",
            where=f'nodes."{node.name}".descriptors',
        )
    return [find_tool("prlimit"), f"--nofile={limit}:", *argv]


def note_limits(processes: Processes, plan: NetworkPlan) -> None:
    """Reads the limits on descriptors of servers and clients back, and keeps them.

    Raises:
        ReadBackError: one is another than it was set to.
    """
    for process in (*processes.of_kind("server"), *processes.of_kind("load")):
        soft = _soft_limit(process.popen.pid)
        if soft is not None:
            process.about["descriptor_limit"] = soft
        wanted = plan.node(process.node).settings.descriptors
        if wanted not in (None, soft):
            raise ReadBackError(
                f"{process.name}: descriptors were limited to {wanted} and read back as {soft}",
                where=process.name,
                wanted=str(wanted),
                got=soft,
            )


def _soft_limit(process_id: int) -> int | None:
    """The soft limit of a process (proc_pid_limits(5)); prlimit(2) would ask for a privilege.

    None: there is none.
    """
    text = Path(f"/proc/{process_id}/limits").read_text(encoding="ascii")
    (line,) = (one for one in text.splitlines() if one.startswith("Max open files"))
    word = line.split()[3]
    return None if word == "unlimited" else int(word)
