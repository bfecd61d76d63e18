"""The limits on descriptors of servers and clients, read back."""

from __future__ import annotations

from pathlib import Path

from testbed.errors import ReadBackError
from testbed.live.processes import Processes
from testbed.network.plan import NetworkPlan


def _descriptor_limit(process_id: int) -> int | None:
    """The soft limit of a process (proc_pid_limits(5)); prlimit(2) would ask for a privilege.

    None: there is none.
    """
    text = Path(f"/proc/{process_id}/limits").read_text(encoding="ascii")
    (line,) = (one for one in text.splitlines() if one.startswith("Max open files"))
    word = line.split()[3]
    return None if word == "unlimited" else int(word)


def note_limits(processes: Processes, plan: NetworkPlan) -> None:
    """Reads the limits on descriptors of servers and clients back, and keeps them.

    Raises:
        ReadBackError: one is another than it was set to.
    """
    for process in (*processes.of_kind("server"), *processes.of_kind("load")):
        soft = _descriptor_limit(process.popen.pid)
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
