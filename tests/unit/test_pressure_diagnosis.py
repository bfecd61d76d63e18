"""Rule: the origin is the stop furthest downstream that accounts for the waiting before it."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.analysis.pressure.diagnosis import QUIET, Facts, diagnose
from testbed.analysis.summary import Stop

LOAD_NS = 10_000_000_000
UNITS = {"pool": "requests", "connect": "requests", "reader": "bytes"}


def stop(layer: str, node: str, what: str, ratio: float, **changes: Any) -> Stop:
    toward_server = node == "client" and what not in ("reader", "zero window", "await")
    fields: dict[str, Any] = {
        "direction": "request" if toward_server else "response",
        "waited_ns": round(ratio * LOAD_NS),
        "waited_ratio": ratio,
        "longest_ns": round(ratio * LOAD_NS / 2),
        "waits": 2 if ratio else 0,
        "peak_amount": 3,
        "unit": UNITS.get(what, "bytes"),
        **changes,
    }
    return Stop(layer=layer, node=node, what=what, **fields)


def facts(**overflows: int) -> Facts:
    return Facts(
        clients=["client"],
        servers=["server"],
        overflows=overflows,
        backlogs={"server": 8},
        refused_accepts={"server": 30},
        descriptor_limits={"server": 64},
    )


SEND = stop("asgi", "server", "send", 0.41)
AWAIT = stop("http", "client", "await", 0.99, longest_ns=611_000_000)
STARVED = stop("asgi", "server", "receive", 0.5, direction="request")
READER = [
    stop("http", "client", "reader", 0.99, peak_amount=92_893),
    stop("socket", "client", "receive buffer full", 0.93, direction="response"),
    stop("tcp", "client", "zero window", 0.5),
]
LINK = stop("qdisc", "r1", "queue r1 → client", 0.87, unit="packets", peak_amount=50)
CONGESTION = stop("tcp", "server", "congestion window", 0.6, peak_amount=65_160)
LOOP = stop(
    "event_loop", "server", "blocked", 0.95, direction="both", longest_ns=108_000_000, unit="tasks"
)
ACCEPT = [
    stop("socket", "server", "accept queue full", 0.24, direction="request", unit="connections"),
    stop("tcp", "client", "handshake", 0.9, longest_ns=14_800_000_000),
]
DESCRIPTORS = [
    stop("syscall", "server", "descriptors", 0.6, direction="request", unit="listeners"),
    stop("socket", "server", "accept queue", 0.6, direction="request", peak_amount=69),
]
SERVER_READER = [
    stop("asgi", "server", "reader", 0.9, direction="request", peak_amount=64_000),
    stop("socket", "server", "receive buffer full", 0.7, direction="request"),
]
UPLINK = stop("qdisc", "r1", "queue r1 → server", 0.7, direction="request", peak_amount=1)
WRITER = stop("http", "client", "writer", 0.98)
POOL = stop("http", "client", "pool", 0.6, unit="requests", peak_amount=900)
UNSENT = stop("socket", "client", "send buffer", 0.3)


@pytest.mark.parametrize(
    ("stops", "overflows", "origin", "sentence"),
    [
        pytest.param(
            [*READER, SEND],
            0,
            ("http", "client", "reader"),
            "pressure comes from the client's reader: its receive buffer was full 93 % of the "
            "time, with up to 93 kB unread, and the server waited 4.1 s in send()",
            id="reader",
        ),
        pytest.param(
            [WRITER, STARVED],
            0,
            ("http", "client", "writer"),
            "pressure comes from the client's writer: while it sent, nothing was left to send 98 % "
            "of the time and the server waited 5 s in receive()",
            id="writer",
        ),
        pytest.param(
            [LINK, SEND],
            0,
            ("qdisc", "r1", "queue r1 → client"),
            "pressure comes from the link r1 → client: its queue was not empty 87 % of the time "
            "and held up to 50 packets, and the server waited 4.1 s in send()",
            id="link",
        ),
        pytest.param(
            [UPLINK, UNSENT],
            0,
            ("qdisc", "r1", "queue r1 → server"),
            "pressure comes from the link r1 → server: its queue was not empty 70 % of the time "
            "and held up to 1 packet, and the client had unsent data for 3 s",
            id="link of requests",
        ),
        pytest.param(
            [LOOP, AWAIT],
            0,
            ("event_loop", "server", "blocked"),
            "pressure comes from the server's event loop: it was blocked 95 % of the time, up to "
            "108 ms at once, and the client waited up to 611 ms for an answer",
            id="event loop",
        ),
        pytest.param(
            [*ACCEPT, LOOP, AWAIT],
            113,
            ("socket", "server", "accept queue full"),
            "pressure comes from the server's accept queue (backlog 8): it was full 24 % of the "
            "time, 113 handshake packets were dropped, and the client waited up to 14.8 s for a "
            "connection; the event loop behind it was blocked 95 % of the time",
            id="accept queue",
        ),
        pytest.param(
            # The queue overflows because nobody is accepted.
            [*DESCRIPTORS, *ACCEPT, AWAIT],
            113,
            ("syscall", "server", "descriptors"),
            "pressure comes from the server's descriptors (limit 64): accept() failed 30 times "
            'with "Too many open files" and nobody was accepted 60 % of the time, and up to 69 '
            "connections waited in the accept queue",
            id="descriptors",
        ),
        pytest.param(
            [CONGESTION, SEND],
            0,
            ("tcp", "server", "congestion window"),
            "pressure comes from the server's congestion window: TCP held data back 60 % of the "
            "time, up to 65 kB unsent, and the server waited 4.1 s in send()",
            id="congestion window",
        ),
        pytest.param(
            [*SERVER_READER, UNSENT],
            0,
            ("asgi", "server", "reader"),
            "pressure comes from the server's application: its receive buffer was full 70 % of the "
            "time, with up to 64 kB unread, and the client had unsent data for 3 s",
            id="application",
        ),
        pytest.param(
            [POOL],
            0,
            ("http", "client", "pool"),
            "pressure comes from the client's connection pool: requests waited for a connection "
            "60 % of the time, 900 requests at once at most",
            id="pool",
        ),
    ],
)
def test_each_suspect_alone(
    stops: list[Stop], overflows: int, origin: tuple[str, str, str], sentence: str
) -> None:
    found, text = diagnose(stops, facts(server=overflows))
    assert found is not None
    assert (found.layer, found.node, found.what) == origin
    assert text == sentence


@pytest.mark.parametrize(
    ("stops", "what"),
    [
        pytest.param([*READER, LINK, CONGESTION, SEND], "reader", id="reader before link"),
        pytest.param([LINK, CONGESTION, SEND], "queue r1 → client", id="link before window"),
        pytest.param([LOOP, *SERVER_READER, UPLINK, POOL], "blocked", id="loop before its buffer"),
        pytest.param([*SERVER_READER, UPLINK, UNSENT], "reader", id="application before uplink"),
        pytest.param([UPLINK, WRITER, STARVED], "queue r1 → server", id="uplink before writer"),
    ],
)
def test_the_one_furthest_downstream(stops: list[Stop], what: str) -> None:
    found, _ = diagnose(stops, facts())
    assert found is not None
    assert found.what == what
    # The order of the list says nothing.
    assert diagnose(stops[::-1], facts())[0] == found


def test_who_held_back_too_little_to_account_for_the_rest_is_passed_over() -> None:
    slight = stop("qdisc", "r1", "queue r1 → client", 0.4, unit="packets")
    found, _ = diagnose([slight, LOOP, AWAIT], facts())
    assert found is not None
    assert found.what == "blocked"


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([], id="nothing"),
        pytest.param([AWAIT, SEND, STARVED], id="only those who wait"),
        pytest.param([stop("event_loop", "server", "blocked", 0.09)], id="a little"),
        pytest.param([stop("event_loop", "server", "lag", 0.4)], id="taking turns"),
        pytest.param([stop("http", "client", "reader", 0.9)], id="unread, and room for more"),
        pytest.param([WRITER], id="a slow writer that nobody waits for"),
        pytest.param(ACCEPT[:1], id="full, and nobody came"),
    ],
)
def test_no_backpressure_to_speak_of(stops: list[Stop]) -> None:
    assert diagnose(stops, facts()) == (None, QUIET)


def test_a_loop_that_only_lags_is_named_when_it_does_so_for_long() -> None:
    lag = stop("event_loop", "server", "lag", 0.8, unit="tasks", peak_amount=31)
    found, sentence = diagnose([lag, AWAIT], facts())
    assert found is not None
    assert found.what == "lag"
    assert "tasks waited for their turn 80 % of the time, 31 tasks at once at most" in sentence


def test_of_two_loops_that_lag_the_one_that_lags_most() -> None:
    lags = [stop("event_loop", node, "lag", r) for node, r in (("client", 0.6), ("server", 0.9))]
    found, _ = diagnose(lags, facts())
    assert found is not None
    assert found.node == "server"


def test_of_several_nodes_the_worst_by_its_name() -> None:
    stops = [
        stop("event_loop", "s1", "blocked", 0.3, direction="both"),
        stop("event_loop", "s2", "blocked", 0.8, direction="both"),
    ]
    both = Facts(clients=["c1"], servers=["s1", "s2"], overflows={}, backlogs={})
    found, sentence = diagnose(stops, both)
    assert found is not None
    assert found.node == "s2"
    assert sentence.startswith("pressure comes from s2's event loop: ")
