"""What the processes of servers and clients have in common: segments, limits, no privileges."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import msgspec

from testbed.live.config import LiveConfig
from testbed.live.descriptors import limited
from testbed.live.privileges import CLIENT_ID, SERVER_ID, without_privileges
from testbed.network.plan import NodePlan
from testbed.recording.layout import Layout, create_partial
from testbed.server.config import ServerConfig
from testbed.units import NS_PER_S

READY_NS: Final = 120 * NS_PER_S
"""Only a bound on hanging: a process that died is seen at once. An emulated CPU takes 30 s here."""


def segments(
    layout: Layout, config: LiveConfig, process: str, names: tuple[str, ...]
) -> dict[str, int | None]:
    """A descriptor for each segment that this run's probes write; None for what is off."""
    probes = config.scenario.probe_set
    wanted = {
        "event_loop": probes.event_loop,
        "syscall": probes.syscall,
        "asgi": probes.asgi,
        "http": True,
    }
    return {
        name: create_partial(layout.segment(f"{name}.{process}")) if wanted[name] else None
        for name in names
    }


def given(descriptors: dict[str, int | None]) -> list[int]:
    """Those that there are."""
    return [descriptor for descriptor in descriptors.values() if descriptor is not None]


def command(module: str, told: msgspec.Struct, config: LiveConfig, node: NodePlan) -> list[str]:
    """The command of a process in `node`, without privileges and with the node's limits.

    Raises:
        MachineError: a limit is higher than this process may give.
    """
    argument = msgspec.json.encode(told).decode()
    argv = [sys.executable, "-m", module, argument]
    user = SERVER_ID if isinstance(told, ServerConfig) else CLIENT_ID
    environment = config.scenario.app_environment
    folders = [Path(config.directory), *([Path(environment).expanduser()] if environment else [])]
    return limited(without_privileges(argv, folders, user), node, config.descriptors)
