"""Which probes observe a run: ``all``, ``light``, ``none``, or a list of them by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from testbed.errors import QuantityError, shown
from testbed.units import NS_PER_MS

NAMES: Final = ("captures", "samples", "event_loop", "asgi", "syscall", "tracepoints")
"""captures: of packets at every interface. samples: TCP_INFO, socket memory, queues and counters.
event_loop, asgi, syscall: within the processes. tracepoints: the kernel's, for root."""
SAMPLE_NS: Final = 10 * NS_PER_MS
LIGHT_SAMPLE_NS: Final = 100 * NS_PER_MS
_FORM: Final = f"all, light, none, or names out of {', '.join(NAMES)} with commas between them"


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """What is observed beside the clients' requests and the relay's log, which always are."""

    captures: Literal["everywhere", "bottlenecks", "nowhere"] = "nowhere"
    sample_interval_ns: int | None = None
    """Of the samples; None: there are none."""
    event_loop: bool = False
    asgi: bool = False
    syscall: bool = False
    tracepoints: bool = False


def parse_probes(text: str) -> ProbeSet:
    """Reads what is written after ``--probes``.

    Raises:
        QuantityError: it is none of that.
    """
    if text == "light":
        return ProbeSet(captures="bottlenecks", sample_interval_ns=LIGHT_SAMPLE_NS, asgi=True)
    if not isinstance(text, str):
        raise QuantityError(f"expected {_FORM} (got {shown(text)})", wanted=_FORM, got=text)
    names = {"all": list(NAMES), "none": []}.get(text)
    if names is None:
        names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in NAMES:
            raise QuantityError(f"expected {_FORM} (got {shown(text)})", wanted=_FORM, got=text)
        if names.count(name) > 1:
            raise QuantityError(f"{name} is there more than once (got {shown(text)})", got=text)
    return ProbeSet(
        captures="everywhere" if "captures" in names else "nowhere",
        sample_interval_ns=SAMPLE_NS if "samples" in names else None,
        event_loop="event_loop" in names,
        asgi="asgi" in names,
        syscall="syscall" in names,
        tracepoints="tracepoints" in names,
    )
