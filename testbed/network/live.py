"""The part of a live change that tc makes: shaping at the sender, netem on the wire.

It runs while the load does, so it starts one tc for each namespace that has something to change;
that one changes and reads back. Only a new capacity needs a second one: iproute2 6.1 has no JSON
for classes.
"""

from __future__ import annotations

import json
from typing import Any

from testbed import clock
from testbed.network import kernel_wire, shaping
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Direction, LinkRecord
from testbed.scenario.model import DirectionName


def change_by_tc(
    tools: Toolbox,
    index: int,
    link: LinkRecord,
    way: DirectionName,
    before: Direction,
    after: Direction,
) -> tuple[int, int]:
    """Changes what tc shapes and what netem does, and reads it back.

    Args:
        tools: runs tc, in the sandbox's own namespace or a node's.
        index: the number of `link` in the plan.
        link: as it was built.
        way: which of its directions.
        before: that direction as it is.
        after: as it shall be.

    Returns:
        CLOCK_MONOTONIC in ns before the first command, and when all was in force; (0, 0) where
        nothing differs.

    Raises:
        ScenarioError: the queue cannot change so while packets wait in it; nothing was changed.
        ToolError: tc failed.
        ReadBackError: a setting reads back as another.
    """
    lines = shaping.tc_change_commands(before, after)
    inner = kernel_wire.device_of(index, way)
    wire = kernel_wire.change_commands(inner, before, after) if link.wire == "kernel" else []
    if not lines and not wire:
        return 0, 0
    with_tables = bool(wire) and kernel_wire.write_tables(tools, [after], changing=True)
    began_ns = clock.monotonic_ns()
    env = kernel_wire.ENVIRONMENT if with_tables else None
    found = _change(tools, ["tc"], wire, inner, env)
    tc = ["tc", "-n", after.sender]
    queues = _change(tools, tc, lines, after.sender_interface)
    ended_ns = clock.monotonic_ns()
    if wire:
        kernel_wire.check(inner, after, found, changing=True)
    if lines:
        shaping.check_queue(after, queues)
    if before.capacity_bit_s != after.capacity_bit_s and lines:
        argv = [*tc, "class", "show", "dev", after.sender_interface]
        shaping.check_capacity(after, tools.run(argv, remember=False))
    return began_ns, ended_ns


def _change(
    tools: Toolbox, tc: list[str], lines: list[str], device: str, env: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Runs the lines, and reads back the qdiscs of `device` with the same process."""
    if not lines:
        return []
    tools.remember([*tc, "-batch", "-"], "".join(f"{line}\n" for line in lines), env)
    show = f"qdisc show dev {device}"
    text = tools.batch([*tc, "-j", "-d"], [*lines, show], env=env, remember=False)
    found: list[dict[str, Any]] = json.loads(text)
    return found
