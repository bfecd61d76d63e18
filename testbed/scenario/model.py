"""A scenario as people write it: from options, from Python or from a TOML file.

Quantities are strings with units here, exactly as typed, so that a recording shows what was asked
for; the `*_ns`, `*_bit_s`, `*_ratio` properties give base units. Constructing any of these types
checks every field and raises one `ScenarioError` with all the problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar, Final, Literal

import msgspec

from testbed import units
from testbed.errors import Problem, QuantityError, ScenarioError, shown
from testbed.scenario import notation
from testbed.scenario.checked import Checked
from testbed.scenario.expectation import parse_expectation
from testbed.scenario.impairments import Trace
from testbed.scenario.load import DEFAULT_REQUESTS, Load
from testbed.scenario.nodes import NodeSettings
from testbed.scenario.probes import ProbeSet, parse_probes
from testbed.scenario.servers import MODELS, MOST_WORKERS, SERVERS, ServerModel, speaking

LinkBackend = Literal["auto", "kernel", "relay"]
Switches = Literal["bridge", "ovs"]
DirectionName = Literal["forward", "reverse"]
DIRECTIONS: Final[tuple[DirectionName, ...]] = ("forward", "reverse")
HttpVersion = Literal["1.1", "2"]
IpVersion = Literal[4, 6]

DEFAULT_BACKLOG = 100
"""Hypercorn's own."""
MOST_BACKLOG = 4096
"""net.core.somaxconn of a new network namespace (net/core/net_namespace.c): listen(2) silently
takes no more.
"""
LEAST_BUFFER_BYTES: Final = 2304
"""Of SO_RCVBUF and SO_SNDBUF: below about this (SOCK_MIN_SNDBUF / 2, include/net/sock.h) the kernel
takes a minimum of its own.
"""

_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "capacity": notation.parse_capacity,
    "queue": notation.parse_queue,
    "delay": units.parse_time_ns,
    "delay_variation": notation.parse_variation,
    "loss": notation.parse_loss,
    "duplicate": notation.parse_pick,
    "corrupt": notation.parse_pick,
    "reorder": notation.parse_reorder,
    "outage": notation.parse_outages,
}
"""What reads each setting of a direction."""


class Way(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one direction of a link does to packets. None: not set, the topology's value stands.

    The notation of each text is in `testbed.scenario.notation`.
    """

    _quantities: ClassVar[Mapping[str, Callable[[str], Any]]] = _PARSERS

    capacity: str | None = None
    """Rate at which the sending interface puts bits on the wire, layer 2 without preamble:
    ``10mbit``; or ``trace NAME``, a capacity that changes.
    """
    queue: str | None = None
    """Limit of the drop-tail queue before the wire, ``50p`` or ``64kB``, or another discipline:
    ``codel 100p target 5ms ecn``.
    """
    delay: str | None = None
    """One-way propagation delay: ``20ms``."""
    delay_variation: str | None = None
    """Random variation of the delay: ``2ms``, ``2ms normal overtaking``."""
    loss: str | None = None
    """Packets lost: ``1%`` at random and independently, ``gilbert-elliott p 1% r 25%``,
    ``every 23``, ``packets 3,7``, ``segments 5``.
    """
    duplicate: str | None = None
    """Packets that arrive twice: ``1%``."""
    corrupt: str | None = None
    """Packets with one bit flipped: ``0.1%``."""
    reorder: str | None = None
    """Packets that others overtake: ``1%``, ``1% extent 5``."""
    outage: str | None = None
    """When nothing comes through: ``at 2s for 500ms``."""
    schedule: tuple[str, ...] | None = None
    """Changes while the load runs: ``at 5s: capacity 2mbit``."""

    def _problems(self, wrong: Set[str]) -> list[Problem]:
        problems: list[Problem] = []
        before_ns = -1
        for index, text in enumerate(() if "schedule" in wrong else self.schedule or ()):
            where = f"schedule[{index}]"
            try:
                at_ns, settings = notation.split_scheduled(text)
                Way.from_text(settings)
            except QuantityError as error:
                problems.append(Problem(where, str(error)))
                continue
            except ScenarioError as error:
                at = text.partition(":")[0].strip()
                problems += [Problem(where, f"{at}: {problem}") for problem in error.problems]
                continue
            if at_ns < before_ns:
                message = f"expected changes in the order of their times (got {shown(text)})"
                problems.append(Problem(where, message))
            before_ns = max(before_ns, at_ns)
        return problems

    @property
    def capacity_bit_s(self) -> int | None:
        """Capacity in bit/s, the mean of a trace; None where not set."""
        found = None if self.capacity is None else notation.parse_capacity(self.capacity)
        return found.mean_bit_s if isinstance(found, Trace) else found

    @property
    def delay_ns(self) -> int | None:
        """One-way delay in nanoseconds, or None where not set."""
        return None if self.delay is None else units.parse_time_ns(self.delay)

    @property
    def loss_ratio(self) -> float | None:
        """Share of packets lost in the long run, or None where not set."""
        return None if self.loss is None else notation.parse_loss(self.loss).mean_ratio

    @classmethod
    def table_of(cls, text: str) -> dict[str, str]:
        """The settings of a text such as ``loss 2%, delay 5ms``, as the keys of a table.

        Raises:
            QuantityError: not in that form.
        """
        return notation.split_settings(text, TEXT_SETTINGS)

    @classmethod
    def from_text(cls, text: str) -> Way:
        """The settings in a text such as ``loss 2%, delay 5ms``.

        Raises:
            QuantityError: not in that form.
            ScenarioError: a setting's value is wrong.
        """
        settings: dict[str, Any] = {**cls.table_of(text)}
        return Way(**settings)

    def given(self) -> dict[str, Any]:
        """The settings that are set, as they were written."""
        return {n: v for n in WAY_SETTINGS if (v := getattr(self, n)) is not None}

    def over(self, base: Way) -> Way:
        """This direction's settings where they are set, those of `base` elsewhere."""
        return Way(**{**base.given(), **self.given()})


WAY_SETTINGS: Final = Way.__struct_fields__
"""The settings of one direction."""
TEXT_SETTINGS: Final = tuple(_PARSERS)
"""Those that can be written in one text: ``loss 2%, delay 5ms``."""


class Link(Way, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link does to packets, both ways, or each way by itself.

    None: not set, the topology's own value stands.
    """

    forward: Way = Way()
    """From its first node to its second, over the settings of both."""
    reverse: Way = Way()
    """From its second node to its first, over the settings of both."""

    def of(self, direction: DirectionName) -> Way:
        """The settings of one direction."""
        return self.of_alone(direction).over(self)

    def merged_over(self, base: Link) -> Link:
        """This link's settings where they are set, those of `base` elsewhere, each by its name."""
        both = Way.over(self, base).given()
        return Link(
            **both,
            forward=self.forward.over(base.forward),
            reverse=self.reverse.over(base.reverse),
        )

    def of_alone(self, direction: DirectionName) -> Way:
        """What is set for one direction only."""
        return self.forward if direction == "forward" else self.reverse


class Scenario(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One experiment, complete but for the seed, which a run draws and records when it is None."""

    _quantities: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "probes": parse_probes,
        "receive_buffer": units.parse_size_bytes,
        "send_buffer": units.parse_size_bytes,
    }

    topology: str
    """A topology's short name, or ``FILE.py:Class`` for any Mininet `Topo`."""
    topology_options: dict[str, int | float | str | bool] = msgspec.field(default_factory=dict)
    """Keyword arguments of the `Topo`, such as ``n = 3`` for the dumbbell."""
    app: str = "hello"
    """A short name out of apps/, or ``module:attribute``."""
    app_environment: str | None = None
    """Folder of a virtual environment whose packages the application may import, too."""
    server: str = "hypercorn"
    """A server model (`testbed.scenario.servers`)."""
    workers: int = 1
    """Processes of each server, which share its listening socket and so its accept queue."""
    backlog: int = DEFAULT_BACKLOG
    """Of the server's listen(2): one connection more than that can wait for accept()."""
    receive_buffer: str | None = None
    """SO_RCVBUF of the server's sockets: ``64kB``. The kernel doubles it and no longer tunes it
    (socket(7), tcp(7)). None: the kernel tunes it within net.ipv4.tcp_rmem.
    """
    send_buffer: str | None = None
    """SO_SNDBUF of the server's sockets, the same way; None: within net.ipv4.tcp_wmem."""
    http: HttpVersion = "1.1"
    """HTTP's version between clients and servers, nothing else: by ALPN with TLS, without by prior
    knowledge (RFC 9113, 3.2 and 3.3).
    """
    tls: bool = False
    """TLS between clients and servers, with certificates that are made for the run."""
    ip: IpVersion = 4
    """IP's version, of everything: 4 or 6."""
    load: Load = Load()
    link: Link = Link()
    """Settings of the links that the topology marks as bottleneck."""
    links: dict[str, Link] = msgspec.field(default_factory=dict)
    """Settings of single links by name (``r1-server``), over those of `link`."""
    nodes: dict[str, NodeSettings] = msgspec.field(default_factory=dict)
    """Settings of nodes by name (``server``), or by role (``client``, ``server``, ``router``) for
    all nodes that have it; those of the name count over those of the role.
    """
    congestion_control: str = "cubic"
    """TCP congestion control of every host."""
    link_backend: LinkBackend = "auto"
    switches: Switches = "bridge"
    """What the topology's switches are: Linux bridges, or bridges of Open vSwitch."""
    seed: int | None = None
    """Key of all random streams, 0 to 2**63 - 1."""
    probes: str = "all"
    """``all``, ``light``, ``none``, or names (`testbed.scenario.probes.NAMES`) with commas."""
    expect: tuple[str, ...] = ()
    """What the run is to show: ``http.failed == 0`` (`testbed.scenario.expectation`)."""

    @property
    def probe_set(self) -> ProbeSet:
        """What `probes` stands for."""
        return parse_probes(self.probes)

    @property
    def server_model(self) -> ServerModel:
        """What `server` stands for."""
        return MODELS[self.server]

    @property
    def receive_buffer_bytes(self) -> int | None:
        """SO_RCVBUF as asked for, in bytes; None where not set."""
        return None if self.receive_buffer is None else units.parse_size_bytes(self.receive_buffer)

    @property
    def send_buffer_bytes(self) -> int | None:
        """SO_SNDBUF as asked for, in bytes; None where not set."""
        return None if self.send_buffer is None else units.parse_size_bytes(self.send_buffer)

    def _problems(self, wrong: Set[str]) -> list[Problem]:
        problems = []
        if "topology" not in wrong and not self.topology:
            problems.append(Problem("topology", "expected a name or FILE.py:Class (got nothing)"))
        if "server" not in wrong and self.server not in SERVERS:
            known = ", ".join(SERVERS)
            problems.append(
                Problem("server", f"expected one of {known} (got {shown(self.server)})")
            )
        elif not wrong & {"server", "http"} and self.http not in self.server_model.http:
            able = " and ".join(speaking(self.http))
            message = f"the server {self.server} does not speak HTTP/{self.http}; {able} do"
            problems.append(Problem("http", message))
        if "workers" not in wrong and not 1 <= self.workers <= MOST_WORKERS:
            message = f"must lie in 1..{MOST_WORKERS} (got {shown(self.workers)})"
            problems.append(Problem("workers", message))
        for name in ("receive_buffer", "send_buffer"):
            size = None if name in wrong else getattr(self, f"{name}_bytes")
            if size is not None and not LEAST_BUFFER_BYTES <= size < 2**30:
                message = (
                    f"must lie in {LEAST_BUFFER_BYTES} B..1 GiB (got {shown(getattr(self, name))})"
                )
                problems.append(Problem(name, message))
        if "seed" not in wrong and self.seed is not None and not 0 <= self.seed < 2**63:
            problems.append(Problem("seed", f"must lie in 0..2**63-1 (got {shown(self.seed)})"))
        if "backlog" not in wrong and not 1 <= self.backlog <= MOST_BACKLOG:
            message = f"must lie in 1..{MOST_BACKLOG} (got {shown(self.backlog)})"
            problems.append(Problem("backlog", message))
        for index, text in enumerate(() if "expect" in wrong else self.expect):
            try:
                parse_expectation(text)
            except QuantityError as error:
                problems.append(Problem(f"expect[{index}]", str(error)))
        if "app" not in wrong and not self.app:
            problems.append(Problem("app", "expected a name or module:attribute (got nothing)"))
        return problems


__all__ = [
    "DEFAULT_REQUESTS",
    "DIRECTIONS",
    "Link",
    "LinkBackend",
    "Load",
    "Scenario",
    "Way",
]
