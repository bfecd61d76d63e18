"""The relay between two real TAP devices, from the outside: orders in, what was seen out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from testbed.recording.layout import partial
from tests.support import relay_lab
from tests.support.relay_lab import Orders, Seen
from tests.support.relay_log import Fate, read_relay_log
from tests.support.sandboxes import in_sandbox


class Outcome(NamedTuple):
    """What the lab saw and what the relay logged."""

    seen: Seen
    forward: list[Fate]
    reverse: list[Fate]


def run_lab(folder: Path, **orders: Any) -> Outcome:
    """Runs the lab in a sandbox of its own, with the relay's log in `folder`."""
    log = folder / f"relay{len(list(folder.iterdir()))}.seg"
    told = msgspec.json.encode(Orders(log=str(log), **orders)).decode()
    done = in_sandbox([sys.executable, str(Path(relay_lab.__file__)), told])
    assert done.returncode == 0, done.stderr
    seen = msgspec.json.decode(done.stdout, type=Seen)
    written = partial(log)
    return Outcome(seen, read_relay_log(written, "forward"), read_relay_log(written, "reverse"))
