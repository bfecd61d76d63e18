"""A calibration in the terminal: a table for each kind of measurement, then a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from testbed.analysis.verdict import FULL_FRAME_BYTES, NEAR
from testbed.analysis.verdict_machine import STOLEN_DEGRADED
from testbed.calibration.limits import (
    LONG_RUN_ERROR,
    WINDOW_ERROR,
    is_disturbed,
    most_stolen,
    rate_faults,
    tcp_frames_per_s,
)
from testbed.calibration.record import (
    Backend,
    Calibration,
    Circumstances,
    DelayMeasure,
    Limits,
    RateMeasure,
    Spread,
)
from testbed.report import format as scale
from testbed.report.format import clean
from testbed.report.text import WIDEST
from testbed.units import NS_PER_US, serialisation_ns

_BY: Final = {"relay": "the relay", "kernel": "the kernel's netem"}
_DIM: Final = "dim"
_FAULTS: Final = {
    "long run": f"more than {LONG_RUN_ERROR:.1%} off in the long run".replace("%", " %"),
    "windows": f"a window more than {WINDOW_ERROR:.0%} off".replace("%", " %"),
    "lateness": "the relay too late for it",
    "overflow": "the relay lost packets",
    "captures": "the capture missed packets",
    "sender": "not filled, the sender had too little CPU time",
}
"""The words of `rate_faults`, for people."""


def print_calibration(console: Console, calibration: Calibration) -> None:
    """Prints a calibration in at most 120 columns; 80 are enough."""
    width = min(console.width, WIDEST)
    console.print(render(calibration), width=width, highlight=False)


def render(calibration: Calibration) -> RenderableType:
    """A calibration as something that rich can print."""
    machine = calibration.machine
    user = "root" if machine.user == "root" else "an ordinary user"
    about = [
        clean(machine.cpu_model),
        scale.plural(machine.cpus, "CPU"),
        f"kernel {clean(machine.kernel)}",
        user,
        *(["quick"] if calibration.quick else []),
    ]
    parts: list[RenderableType] = [Text(" · ".join(about), style=_DIM)]
    for backend in calibration.backends:
        parts += [Text(""), _head(backend)]
        if backend.measured:
            for part in (_delays(backend), _rates(backend.rates), _others(backend)):
                parts += [Text(""), Padding(part, (0, 0, 0, 2), expand=False)]
    parts += [Text(""), *(Text(text) for text in sentences(calibration))]
    return Group(*parts)


def _head(backend: Backend) -> Text:
    line = Text(f"Links by {_BY[backend.name]}", style="bold")
    if not backend.measured:
        line.append(f": not measured: {clean(backend.reason)}", style="not bold dim")
    elif backend.scheduler is not None:
        about = "SCHED_FIFO" if backend.scheduler == "fifo" else "without real-time priority"
        if backend.relay_cpu is not None:
            about += f", CPU {backend.relay_cpu} kept free for it"
        line.append(f" ({about})", style="not bold")
    return line


def _table(*heads: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=_DIM, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def _delays(backend: Backend) -> RenderableType:
    """Each delay idle and loaded, then the relay's own lateness."""
    table = _table("delay error in µs", "idle p50", "p99", "max", "loaded p50", "p99", "max", "")
    for delay_ns in sorted({delay.delay_ns for delay in backend.delays}):
        mine = [delay for delay in backend.delays if delay.delay_ns == delay_ns]
        label = f"{scale.duration(delay_ns)} at {scale.rate(mine[0].capacity_bit_s)}"
        idle, loaded = (
            next((delay.error for delay in mine if delay.loaded is kind), None)
            for kind in (False, True)
        )
        table.add_row(label, *_spread(idle), *_spread(loaded), _delay_mark(mine))
    late = [c.relay_lateness if c else None for c in (backend.idle, backend.loaded)]
    if any(late):
        table.add_row("the relay's lateness", *_spread(late[0]), *_spread(late[1]), "")
    return table


def _delay_mark(measures: Iterable[DelayMeasure]) -> Text:
    """Whether the verdict would call the loaded delay faithful."""
    loaded = [m for m in measures if m.loaded and m.capacity_bit_s]
    if not loaded:
        return Text("")
    good = all(
        m.error.p99_ns <= NEAR * serialisation_ns(FULL_FRAME_BYTES, m.capacity_bit_s)
        for m in loaded
    )
    return _mark(good)


def _mark(good: bool, why: str = "") -> Text:
    return Text("✓", style="green") if good else Text(f"✗ {why}".rstrip(), style="bold yellow")


def _spread(found: Spread | None) -> list[str]:
    if found is None:
        return [scale.NOTHING] * 3
    return [
        scale.grouped(str(round(value / NS_PER_US)))
        for value in (found.p50_ns, found.p99_ns, found.max_ns)
    ]


def _rates(rates: Sequence[RateMeasure]) -> RenderableType:
    table = _table("rate error", "long run", "100 ms p50", "max", "late p99", "relay CPU", "")
    faults = []
    for rate in rates:
        here = rate.circumstances
        late = here.relay_lateness
        found = rate_faults(rate)
        name = scale.rate(rate.capacity_bit_s)
        table.add_row(
            name,
            _error(rate.long_run_error_ratio),
            _error(rate.window_error_p50_ratio),
            _error(rate.window_error_max_ratio),
            scale.NOTHING if late is None else scale.duration(late.p99_ns),
            _share(here.relay_cpu_ratio),
            _mark(not found),
        )
        if found:
            words = ", ".join(_FAULTS[fault] for fault in found)
            faults.append(_mark(False, f"{name}: {words}"))
    return Group(table, *faults)


def _error(ratio: float) -> str:
    """A small relative error; less than a millionth is none that these stamps could show."""
    return f"{0.0:.3f} %" if abs(ratio) < 5e-6 else f"{ratio:.3%}".replace("%", " %")


def _share(ratio: float | None) -> str:
    return scale.NOTHING if ratio is None else f"{ratio:.0%}".replace("%", " %")


def _others(backend: Backend) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    loss, carried, tcp = backend.loss, backend.carried, backend.tcp
    if loss is not None:
        text = Text(
            f"{scale.count(loss.lost_packets)} of {scale.count(loss.sent_packets)} packets; "
            f"that fits {scale.percent(loss.low_ratio)} to {scale.percent(loss.high_ratio)} "
        )
        table.add_row(f"loss {scale.percent(loss.loss_ratio)}", text.append(_mark(loss.fits)))
    if carried is not None:
        bits = carried.packets_per_s * FULL_FRAME_BYTES * 8
        text = Text(
            f"{_packets(carried.packets_per_s)} of {FULL_FRAME_BYTES} bytes "
            f"({scale.rate(bits)}){_used(carried.circumstances)}"
        )
        table.add_row("full frames", text)
    if tcp is not None:
        frames = f"{scale.grouped(str(round(tcp_frames_per_s(tcp))))} full frames/s"
        goodput = f"{scale.rate(tcp.goodput_bit_s)} of goodput ({frames})"
        table.add_row("TCP (iperf3)", goodput + _used(tcp.circumstances))
    elif backend.tcp_reason:
        table.add_row("TCP (iperf3)", f"not measured: {backend.tcp_reason}")
    if backend.load is not None and backend.loaded is not None:
        busy = _share(backend.loaded.busy_cpu_ratio)
        table.add_row(
            "load beside it",
            f"{scale.count(round(backend.load.requests_per_s))} HTTP requests/s, CPUs {busy} busy",
        )
    table.add_row("stolen CPU", f"at most {most_stolen(backend):.1%}".replace("%", " %"))
    return table


def _used(here: Circumstances) -> str:
    if here.relay_cpu_ratio is None:
        return ""
    return f", the relay used {_share(here.relay_cpu_ratio)} of a CPU"


def _packets(per_s: float) -> str:
    return f"{scale.grouped(str(round(per_s)))} packets/s"


def sentences(calibration: Calibration) -> list[str]:
    """What it comes to, backend by backend."""
    said = []
    for backend in calibration.backends:
        if not backend.measured or backend.limits is None:
            continue
        said.append(f"By {_BY[backend.name]} this machine {_does(backend, backend.limits)}")
        if is_disturbed(backend):
            said.append(
                f"{most_stolen(backend) * 100:.1f} % of the CPU time was stolen meanwhile, and "
                f"above {STOLEN_DEGRADED * 100:.0f} % no verdict is faithful: measure again when "
                "it is quiet."
            )
        elif any("sender" in rate_faults(rate) for rate in backend.rates):
            said.append(
                "Links that were not filled may be better than that: measure again when the "
                "machine is quiet."
            )
    return said


def _does(backend: Backend, limits: Limits) -> str:
    """The rest of the sentence that begins with the backend."""
    error = (
        f"one-way delay error {scale.duration(limits.delay_error_p99_ns)} at p99 beside an HTTP "
        "load"
    )
    carried = ""
    if limits.packets_per_s is not None:
        carried = f"; it carries at most {_packets(limits.packets_per_s)} in all"
    if not limits.capacity_bit_s:
        least = min((rate.capacity_bit_s for rate in backend.rates), default=None)
        return f"is not faithful even at {scale.rate(least)}: {error}{carried}."
    why = (
        "what the error in time allows"
        if limits.capacity_by_time_bit_s <= limits.capacity_by_rate_bit_s
        else "the highest that was measured and kept"
    )
    up_to = scale.rate(limits.capacity_bit_s)
    return f"does capacities up to {up_to} faithfully ({why}), {error}{carried}."
