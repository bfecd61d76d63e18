"""`python -m benchmarks.analysis.work analyse|decode|count DIR`: what is measured, as a process."""

from __future__ import annotations

import sys
from pathlib import Path


def main(what: str, root: Path) -> None:
    """Analyses a recording, decodes its captures, or prints how many packets they have."""
    if what == "analyse":
        from testbed.analysis.analyse import analyse

        analyse(root)
        return
    from testbed.analysis.captures import read_capture
    from testbed.recording.layout import open_layout

    packets = sum(read_capture(path).packets.count for path in open_layout(root).captures())
    if what == "count":
        print(packets)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
