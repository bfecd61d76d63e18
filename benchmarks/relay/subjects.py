"""What is measured, and how each is started between two ends.

Every emulator gets the same scheduler: SCHED_FIFO where that is allowed. Without it they wait for
the CPUs behind the traffic that is to measure them. The lab and the flood have it with priorities
below, so that they take no CPU from an emulator and lose none to what else runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final

import msgspec

from benchmarks.relay.ends import PORT, Pair
from testbed.errors import RunError
from testbed.network.relay.config import LinkConfig, RelayConfig, TapEnd, WireConfig
from testbed.network.relay.taps import open_tap
from testbed.network.tools import find_tool, locate
from testbed.scenario.impairments import Bernoulli

DELAY_NS: Final = 10_000_000
LOSS_RATIO: Final = 0.01
FLOOD_PRIORITY: Final = 1
LAB_PRIORITY: Final = 2
_PRIORITY: Final = 10
"""The relay's own."""
_DEADLINE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a subject is started with."""

    folder: Path
    """For logs, sockets and the compiled programs."""
    fifo: bool

    @property
    def last_words(self) -> Path:
        """What the subjects write to their standard error."""
        return self.folder / "stderr"

    def hurried(self, argv: Sequence[str], priority: int = _PRIORITY) -> list[str]:
        """`argv` under SCHED_FIFO, where that is allowed."""
        return [*([find_tool("chrt"), "-f", str(priority)] if self.fifo else []), *argv]


@dataclass(frozen=True, slots=True)
class Subject:
    """One thing that joins two ends."""

    name: str
    settings: str
    delay_ns: int
    ends: str
    """``tap`` or ``veth``."""
    needs: tuple[tuple[str, str], ...]
    """Programs and the Debian packages that have them."""
    start: Callable[[Pair, Workshop, ExitStack], None]
    """Starts it; the stack stops it."""

    @contextmanager
    def between(self, pair: Pair, workshop: Workshop) -> Iterator[None]:
        """Joins the two ends for a ``with`` block."""
        with ExitStack() as stack:
            self.start(pair, workshop, stack)
            yield

    def missing(self) -> str | None:
        """Why it cannot be measured here; None when it can."""
        for program, package in self.needs:
            if locate(program) is None:
                return f"{program} is not installed (Debian package {package})"
        return None


def _our_relay(delay_ns: int, loss_ratio: float) -> Callable[[Pair, Workshop, ExitStack], None]:
    loss = Bernoulli(ratio=loss_ratio) if loss_ratio else None
    wire = WireConfig(delay_ns=delay_ns, loss=loss)

    def start(pair: Pair, workshop: Workshop, stack: ExitStack) -> None:
        log = workshop.folder / "relay.log"
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        stack.callback(log.unlink)
        stack.callback(os.close, descriptor)
        link = LinkConfig(
            name="a-b",
            ends=(
                TapEnd(node=pair.a.name, interface=PORT),
                TapEnd(node=pair.b.name, interface=PORT),
            ),
            forward=wire,
            reverse=wire,
            log_fd=descriptor,
        )
        # Not `hurried`: it asks for SCHED_FIFO itself.
        argv = [sys.executable, "-m", "testbed.network.relay"]
        relay = _program(workshop, stack, argv, keep=[descriptor], output=PIPE)
        assert relay.stdin is not None
        relay.stdin.write(msgspec.json.encode(RelayConfig(seed=7, links=[link])) + b"\n")
        relay.stdin.flush()
        assert relay.stdout is not None
        if not relay.stdout.readline():
            raise RunError("the relay did not start")

    return start


def _bare_relay(delay_ns: int) -> Callable[[Pair, Workshop, ExitStack], None]:
    def start(pair: Pair, workshop: Workshop, stack: ExitStack) -> None:
        taps = [open_tap(node.name, PORT) for node in pair]
        for tap in taps:
            stack.callback(os.close, tap)
        words = [str(tap) for tap in taps] + ([str(delay_ns)] if delay_ns else [])
        _program(
            workshop,
            stack,
            workshop.hurried([str(workshop.folder / "bare_relay"), *words]),
            keep=taps,
        )

    return start


def _wirefilter(pair: Pair, workshop: Workshop, stack: ExitStack) -> None:
    """A switch on each TAP device, and wirefilter between the two.

    Why not `dpipe vde_plug tap://... = wirefilter = ...`, with two processes fewer: the pipes
    between them come to a standstill under load (vde2 2.3.2).
    """
    sockets = []
    for node in pair:
        control = workshop.folder / node.name
        switch = [find_tool("vde_switch"), "-sock", str(control), "-tap", PORT]
        _program(workshop, stack, node.command(workshop.hurried(switch)))
        _wait_for(control / "ctl")
        sockets.append(str(control))
    settings = ["-d", str(DELAY_NS // 1_000_000), "-l", str(LOSS_RATIO * 100)]
    argv = [find_tool("wirefilter"), "-v", ":".join(sockets), *settings]
    _program(workshop, stack, workshop.hurried(argv))


def _nothing(pair: Pair, workshop: Workshop, stack: ExitStack) -> None:
    """The ends are joined already."""


_IMPAIRED: Final = "10 ms, 1 % loss"
_CC: Final = (("cc", "gcc"),)
_VDE: Final = (("vde_switch", "vde-switch"), ("wirefilter", "vde-wirefilter"))
OURS: Final = Subject(
    "our relay", f"{_IMPAIRED}, log", DELAY_NS, "tap", (), _our_relay(DELAY_NS, LOSS_RATIO)
)
OURS_PLAIN: Final = Subject(
    "our relay unimpaired", "no delay, no loss, log", 0, "tap", (), _our_relay(0, 0.0)
)
BARE: Final = Subject("bare C", "no delay, no loss, no log", 0, "tap", _CC, _bare_relay(0))
BARE_DELAYED: Final = Subject(
    "bare C delayed", "10 ms, no loss, no log", DELAY_NS, "tap", _CC, _bare_relay(DELAY_NS)
)
WIREFILTER: Final = Subject(
    "wirefilter", f"{_IMPAIRED}, no log", DELAY_NS, "tap", _VDE, _wirefilter
)
VETH: Final = Subject("veth pair", "no emulator at all", 0, "veth", (), _nothing)
SUBJECTS: Final = (OURS, BARE, WIREFILTER, OURS_PLAIN, BARE_DELAYED, VETH)
"""In the order of their turns; what is compared with each other is measured one after the other."""
COMPARISONS: Final = ((OURS, BARE), (OURS, WIREFILTER), (OURS, BARE_DELAYED), (OURS_PLAIN, BARE))


def _program(
    workshop: Workshop,
    stack: ExitStack,
    argv: Sequence[str],
    *,
    keep: Sequence[int] = (),
    output: int = DEVNULL,
) -> subprocess.Popen[bytes]:
    """Starts a program that runs until its standard input ends, or until it is told to."""
    with workshop.last_words.open("ab") as words:
        process = subprocess.Popen(
            argv, stdin=PIPE, stdout=output, stderr=words, pass_fds=tuple(keep)
        )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    for end in (process.terminate, process.kill):
        try:
            process.wait(2.0)
            break
        except subprocess.TimeoutExpired:
            end()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise RunError(f"{path.name} did not appear within {_DEADLINE_S:.0f} s")
        time.sleep(0.01)
