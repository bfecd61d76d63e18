"""What the clients of a scenario ask for; how its texts are written is `load_notation`'s."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from typing import Any, ClassVar, Final, Literal

from testbed import units
from testbed.errors import Problem, QuantityError, shown
from testbed.scenario import load_notation as notation
from testbed.scenario import tables
from testbed.scenario.checked import Checked
from testbed.scenario.load_notation import Cancel, Entry, Rate
from testbed.scenario.spread import Spread

Client = Literal["httpx", "httpx2"]
Phase = Literal["connect", "read", "write", "pool"]
PHASES: Final[tuple[Phase, ...]] = ("connect", "read", "write", "pool")

DEFAULT_REQUESTS = 100
"""How many requests are made when neither a number nor a duration is asked for: every load is
bounded.
"""
DEFAULT_BACKOFF: Final = "100ms"
OPEN_LOOP_CONNECTIONS: Final = 100
"""Most connections of an open loop where nothing else is said: httpx's default."""
MOST_PROCESSES: Final = 64
MOST_RETRIES: Final = 10
MOST_COUNT: Final = 2**63


def _read_arrivals(text: str) -> None:
    kind, file = notation.parse_arrivals(text)
    if kind == "trace":
        tables.read_send_times(file)


class Load(Checked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the clients ask for.

    With `rate`, or arrivals from a trace, the loop is open: requests start when they are due,
    whatever became of the earlier ones, and latency counts from that intended start (no coordinated
    omission). Without it the loop is closed: each of `users` sends its next request when the last
    one is answered.
    """

    _quantities: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "rate": notation.parse_rate,
        "arrivals": _read_arrivals,
        "duration": units.parse_time_ns,
        "body": notation.parse_sizes,
        "size": notation.parse_sizes,
        "think": notation.parse_times,
        "backoff": units.parse_time_ns,
        "cancel": notation.parse_cancel,
        "timeout": units.parse_time_ns,
        **{f"{phase}_timeout": units.parse_time_ns for phase in PHASES},
        "total_timeout": units.parse_time_ns,
        "read_rate": units.parse_capacity_bit_s,
        "write_rate": units.parse_capacity_bit_s,
    }

    users: int = 1
    """Concurrent users of each client host; in an open loop not used."""
    rate: str | None = None
    """Requests per time and client host, open loop: ``200/s``, or from the first to the last over
    the duration: ``10/s..200/s``."""
    arrivals: str = "poisson"
    """How open-loop starts are spaced: ``poisson``, ``periodic``, or ``trace FILE``."""
    requests: int | None = None
    """Requests of each client host in all."""
    duration: str | None = None
    """How long new requests are started; whichever of `requests` and `duration` ends first, ends
    the load.
    """
    max_in_flight: int | None = None
    """Most requests of each client host under way, open loop: what is due beyond is recorded as
    dropped. None: all are started."""
    think: str | None = None
    """How long a user waits between a request's end and its next one, closed loop: ``100ms``,
    ``exponential mean 100ms``."""
    method: str = "GET"
    path: str = "/"
    """Path and query, beginning with a slash; ``{size}`` in it stands for what `size` says."""
    body: str | None = None
    """Size of the request's body: ``64kB``, or a distribution; made of a repeated pattern."""
    size: str | None = None
    """Size that is put into the path, for a download: ``64kB``, or a distribution."""
    mix: tuple[str, ...] | None = None
    """Kinds of requests by weight, instead of one: ``3 GET /``, ``1 POST /items body 2kB``."""
    retries: int = 0
    """How often a request is tried again that failed and may be."""
    backoff: str | None = None
    """Before the n-th retry a random time up to 2^(n-1) times this; None: 100ms."""
    cancel: str | None = None
    """Which requests the client gives up, and when: ``1% after 50ms``."""
    timeout: str = "30s"
    """Limit on each phase of a request (connect, write, read, pool), as in httpx."""
    connect_timeout: str | None = None
    """Limit on connecting; None: `timeout`."""
    read_timeout: str | None = None
    """Limit on each wait for data; None: `timeout`."""
    write_timeout: str | None = None
    """Limit on each wait until data is taken; None: `timeout`."""
    pool_timeout: str | None = None
    """Limit on the wait for a connection of the pool; None: `timeout`."""
    total_timeout: str | None = None
    """Limit on the whole request, from its start and over all attempts; None: none."""
    read_rate: str | None = None
    """How fast each connection is read at most, ``100kbit``; None: as fast as data comes."""
    write_rate: str | None = None
    """How fast each connection is written to at most, ``100kbit``; None: as fast as it takes."""
    new_connections: bool = False
    """A new connection for each request, instead of connections that are kept and used again."""
    connections: int | None = None
    """Most connections of each client host; None: as many as users, 100 in an open loop."""
    processes: int = 1
    """Client processes of each client host, among which all numbers above are shared out."""
    client: Client = "httpx"
    """Library that makes the requests."""

    def _problems(self, wrong: Set[str]) -> list[Problem]:
        found = [
            *self._numbers(wrong),
            *self._request(wrong),
            *self._loop(wrong),
            *self._mix(wrong),
        ]
        if "backoff" not in wrong and self.backoff is not None and self.retries == 0:
            found.append(Problem("backoff", "needs retries (got none)"))
        return found

    def _numbers(self, wrong: Set[str]) -> list[Problem]:
        problems = []
        least = self.processes if "processes" not in wrong else 1
        for name, low, high in (
            ("users", 1, MOST_COUNT - 1),
            ("requests", 1, MOST_COUNT - 1),
            ("max_in_flight", 1, MOST_COUNT - 1),
            ("connections", 1, MOST_COUNT - 1),
            ("processes", 1, MOST_PROCESSES),
            ("retries", 0, MOST_RETRIES),
        ):
            value = getattr(self, name)
            if name in wrong or value is None or low <= value <= high:
                continue
            limit = "2**63" if high == MOST_COUNT - 1 else str(high + 1)
            what = f"must be at least {low}" if value < low else f"must be less than {limit}"
            problems.append(Problem(name, f"{what} (got {shown(value)})"))
        shared = ["connections", "max_in_flight"]
        if not {"rate", "arrivals"} & wrong and not self.is_open:
            shared.append("users")
        for name in shared:
            value = getattr(self, name)
            if name not in wrong and value is not None and 1 <= value < least <= MOST_PROCESSES:
                message = f"must be at least processes, {least} (got {shown(value)})"
                problems.append(Problem(name, message))
        timeouts = [f"{phase}_timeout" for phase in PHASES]
        for name in ("duration", "timeout", *timeouts, "total_timeout"):
            value = getattr(self, name)
            if name not in wrong and value is not None and units.parse_time_ns(value) == 0:
                problems.append(Problem(name, f'must be greater than 0 (got "{value}")'))
        return problems

    def _request(self, wrong: Set[str]) -> list[Problem]:
        problems = []
        if "path" not in wrong:
            message = notation.entry_problem("GET", self.path)
            problems += [Problem("path", message)] if message else []
        if "method" not in wrong:
            message = notation.entry_problem(self.method, "/")
            problems += [Problem("method", message)] if message else []
        if not {"path", "size"} & wrong and self.mix is None:
            message = notation.size_problem(self.path, self.size)
            where = "path" if self.size is None else "size"
            problems += [Problem(where, message)] if message else []
        return problems

    def _loop(self, wrong: Set[str]) -> list[Problem]:
        if {"rate", "arrivals"} & wrong:
            return []
        problems = []
        traced = self.arrivals_file is not None
        if not self.is_open and notation.parse_arrivals(self.arrivals)[0] != "poisson":
            message = f'needs an open loop, a rate (got "{self.arrivals}" alone)'
            problems.append(Problem("arrivals", message))
        if traced and self.rate is not None:
            problems.append(Problem("rate", f'not beside a trace of arrivals (got "{self.rate}")'))
        elif self.rate is not None and ".." in self.rate and self.duration is None:
            problems.append(Problem("rate", f'a ramp needs a duration (got "{self.rate}" alone)'))
        if not self.is_open and self.max_in_flight is not None:
            message = f"needs an open loop, a rate (got {shown(self.max_in_flight)} alone)"
            problems.append(Problem("max_in_flight", message))
        if self.is_open and self.think is not None and "think" not in wrong:
            problems.append(
                Problem("think", f'is for a closed loop, not beside a rate (got "{self.think}")')
            )
        return problems

    def _mix(self, wrong: Set[str]) -> list[Problem]:
        if self.mix is None or "mix" in wrong:
            return []
        problems = [] if self.mix else [Problem("mix", "expected at least one kind (got none)")]
        for index, text in enumerate(self.mix):
            try:
                notation.parse_entry(text)
            except QuantityError as error:
                problems.append(Problem(f"mix[{index}]", str(error)))
        for name, plain in (("method", "GET"), ("path", "/"), ("body", None), ("size", None)):
            value = getattr(self, name)
            if name not in wrong and value != plain:
                problems.append(
                    Problem(name, f"not beside mix, which says it (got {shown(value)})")
                )
        return problems

    @property
    def arrivals_file(self) -> str | None:
        """The file of a trace of arrivals; None where there is none."""
        kind, file = notation.parse_arrivals(self.arrivals)
        return file if kind == "trace" else None

    @property
    def is_open(self) -> bool:
        """Whether requests start when they are due, whatever became of earlier ones."""
        return self.rate is not None or self.arrivals_file is not None

    @property
    def request_limit(self) -> int | None:
        """Requests of each client host; the default where nothing else bounds the load."""
        if self.requests is None and self.duration is None and self.arrivals_file is None:
            return DEFAULT_REQUESTS
        return self.requests

    @property
    def rates(self) -> Rate | None:
        """Open-loop requests per second of each client host; None: a closed loop, or a trace."""
        return None if self.rate is None else notation.parse_rate(self.rate)

    @property
    def peak_rate_per_s(self) -> float | None:
        """The highest rate of an open loop; of a trace, which may have any gap, without bound."""
        rates = self.rates
        if rates is not None:
            return max(rates.first_per_s, rates.last_per_s)
        return math.inf if self.is_open else None

    @property
    def duration_ns(self) -> int | None:
        """Duration in nanoseconds, or None where not set."""
        return None if self.duration is None else units.parse_time_ns(self.duration)

    def timeout_ns(self, phase: Phase) -> int:
        """Limit on a phase in nanoseconds."""
        own: str | None = getattr(self, f"{phase}_timeout")
        return units.parse_time_ns(self.timeout if own is None else own)

    @property
    def total_timeout_ns(self) -> int | None:
        """Limit on a whole request in nanoseconds; None: none."""
        return None if self.total_timeout is None else units.parse_time_ns(self.total_timeout)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The kinds of requests; one without a mix."""
        if self.mix is not None:
            return tuple(notation.parse_entry(text) for text in self.mix)
        body = None if self.body is None else notation.parse_sizes(self.body)
        size = None if self.size is None else notation.parse_sizes(self.size)
        text = f"{self.method} {self.path}"
        return (Entry(method=self.method, path=self.path, body=body, size=size, text=text),)

    @property
    def mean_body_bytes(self) -> float:
        """Mean size of the largest kind of request's body in bytes; 0 where none has one."""
        return max(0.0 if one.body is None else one.body.mean for one in self.entries)

    @property
    def think_time(self) -> Spread | None:
        """Time between a user's requests in ns; None: none."""
        return None if self.think is None else notation.parse_times(self.think)

    @property
    def backoff_ns(self) -> int:
        """Longest wait before the first retry."""
        return units.parse_time_ns(DEFAULT_BACKOFF if self.backoff is None else self.backoff)

    @property
    def cancels(self) -> Cancel | None:
        """Which requests are given up; None: none."""
        return None if self.cancel is None else notation.parse_cancel(self.cancel)

    @property
    def connection_limit(self) -> int:
        """Most connections of each client host."""
        if self.connections is not None:
            return self.connections
        return OPEN_LOOP_CONNECTIONS if self.is_open else self.users

    @property
    def read_rate_bit_s(self) -> int | None:
        """Most bits per second that each connection is read with; None: not limited."""
        return None if self.read_rate is None else units.parse_capacity_bit_s(self.read_rate)

    @property
    def write_rate_bit_s(self) -> int | None:
        """Most bits per second that each connection is written with; None: not limited."""
        return None if self.write_rate is None else units.parse_capacity_bit_s(self.write_rate)
