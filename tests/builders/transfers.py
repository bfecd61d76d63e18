"""A transfer over one connection, packet by packet, into a `Run`."""

from __future__ import annotations

from testbed.analysis.summary import Reason, Summary
from tests.builders.frames import ACK, SYN, tcp, timestamps
from tests.builders.recordings import MS, US, Run

PORT, SERVER_PORT, MSS = 40000, 8000, 1000


def transfer(
    run: Run, segments: int, lost: frozenset[int] = frozenset(), where: str = "r1-server"
) -> None:
    """The server sends `segments` segments; the `lost` ones are sent again 100 ms later."""
    run.send("server", 0, tcp(PORT, SERVER_PORT, 99, flags=SYN))
    run.send("client", 5 * MS, tcp(SERVER_PORT, PORT, 499, 100, flags=SYN | ACK))
    for number in range(segments):
        data(run, number, 10 * MS + number * 10 * US, lost=where if number in lost else None)
    for number in sorted(lost):
        data(run, number, 110 * MS + number * 10 * US)
    run.retransmitted["server"] += len(lost)
    for number in range(segments):
        ack = tcp(PORT, SERVER_PORT, 100, 500 + MSS * (number + 1), options=timestamps(number, 1))
        run.send("server", 200 * MS + number * 20 * US, ack)


def data(run: Run, number: int, t_ns: int, **how: object) -> None:
    packet = tcp(
        SERVER_PORT, PORT, 500 + number * MSS, 100, payload=bytes(MSS), options=timestamps(t_ns, 1)
    )
    run.send("client", t_ns, packet, **how)  # type: ignore[arg-type]


def reasons(summary: Summary, check: str) -> list[Reason]:
    return [reason for reason in summary.verdict.reasons if reason.check == check]
