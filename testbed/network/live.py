"""The part of a live change that tc makes; replaced when the kernel wire can change, too."""

from __future__ import annotations

from testbed.network.tools import Toolbox
from testbed.recording.manifest import Direction, LinkRecord
from testbed.scenario.model import DirectionName


def change_by_tc(
    tools: Toolbox, link: LinkRecord, way: DirectionName, before: Direction, after: Direction
) -> tuple[int, int]:
    """Changes what tc shapes and what netem does; (0, 0) where nothing of it differs."""
    del tools, link, way, before, after
    return 0, 0
