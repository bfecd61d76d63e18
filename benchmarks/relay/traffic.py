"""What is sent from `a` to `b`, and what is measured of it."""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.relay.ends import HEADER, PORT, Pair
from testbed.errors import RunError

PROBES_PER_S: Final = 1000
_PROBE_BYTES: Final = 200
_LATE_NS: Final = 200_000_000
"""How long a probe is waited for beyond its delay; lost is what has not come by then."""
_LONGEST_SEND_NS: Final = 50_000
"""Sending takes 5 us; after more the process had lost its CPU, before or after the frame left."""
_SO_TIMESTAMPNS: Final = 35
"""include/uapi/asm-generic/socket.h"""
_ALL_RATIO: Final = 0.97
"""What arrives of a flood that is carried whole: less 1 % loss, and what is on its way."""
_BUSY_RATIO: Final = 0.9
_DEADLINE_S: Final = 10.0


def wait_until_joined(pair: Pair) -> None:
    """Sends frames until one arrives.

    Raises:
        RunError: none did.
    """
    sender, receiver = pair.a.socket(), pair.b.socket()
    with sender, receiver:
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            try:
                sender.send(HEADER.ljust(60, b"\0"))
                time.sleep(0.02)
                receiver.recv(2048)
            except OSError:  # no carrier yet, or nothing there yet
                continue
            time.sleep(0.1)  # for the others to arrive
            return
    raise RunError(f"no frame arrived within {_DEADLINE_S:.0f} s")


def added_delays_ns(pair: Pair, delay_ns: int, seconds: float) -> list[int]:
    """One-way delays beyond `delay_ns` (RFC 7679), of about `PROBES_PER_S` a second.

    From just before a probe is sent until the kernel has it at the other interface, on
    CLOCK_MONOTONIC: the kernel's stamp is of CLOCK_REALTIME, whose distance to it is constant
    unless the clock is set. So what this process waits for a CPU is not in it; a probe is not
    counted that was still being sent after `_LONGEST_SEND_NS`.

    Raises:
        RunError: nothing arrived.
    """
    count = max(int(seconds * PROBES_PER_S), 1)
    step_ns = 1_000_000_000 // PROBES_PER_S
    sent_ns: dict[int, int] = {}
    found: list[int] = []
    sender, receiver = pair.a.socket(), pair.b.socket()
    with sender, receiver:
        receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        time.sleep(0.1)  # the kernel begins to stamp a little later
        offset_ns = time.time_ns() - time.monotonic_ns()
        next_ns = time.monotonic_ns()
        end_ns = next_ns + count * step_ns + delay_ns + _LATE_NS
        number = 0
        while number < count or (sent_ns and time.monotonic_ns() < end_ns):
            wait_ns = next_ns - time.monotonic_ns()
            if number < count and wait_ns <= 0:
                frame = (HEADER + struct.pack(">I", number)).ljust(_PROBE_BYTES, b"\0")
                before_ns = time.monotonic_ns()
                sender.send(frame)
                if time.monotonic_ns() - before_ns <= _LONGEST_SEND_NS:
                    sent_ns[number] = before_ns
                number += 1
                next_ns += step_ns
                continue
            wait_s = (wait_ns if number < count else step_ns) / 1e9
            if select.select([receiver], [], [], wait_s)[0]:
                number_of, arrived_ns = _receive(receiver)
                before = sent_ns.pop(number_of, None)
                if before is not None:
                    found.append(arrived_ns - offset_ns - before - delay_ns)
    if not found:
        raise RunError("no probe arrived")
    return found


def _receive(receiver: socket.socket) -> tuple[int, int]:
    """The next probe's number and when the kernel had it, on CLOCK_REALTIME."""
    frame, ancillary, _, _ = receiver.recvmsg(2048, 64)
    (number,) = struct.unpack_from(">I", frame, len(HEADER))
    seconds, nanoseconds = struct.unpack_from("@ll", ancillary[0][2])
    return number, seconds * 1_000_000_000 + nanoseconds


def tcp_bit_s(pair: Pair, seconds: int) -> float:
    """Goodput of one TCP connection, without its first second.

    Raises:
        RunError: iperf3 failed.
    """
    server = subprocess.Popen(
        pair.b.command(["iperf3", "--server", "--one-off", "--forceflush"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    try:
        while "listening" not in (line := server.stdout.readline()):
            if not line:
                raise RunError("the iperf3 server did not start")
        times = ["--omit", "1", "--time", str(seconds)]
        client = ["iperf3", "--client", pair.b.address, *times, "--json"]
        done = subprocess.run(
            pair.a.command(client),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _DEADLINE_S,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        if "error" in answer:
            raise RunError(f"iperf3: {answer['error']}")
        return float(answer["end"]["sum_received"]["bits_per_second"])
    except subprocess.TimeoutExpired as error:
        raise RunError("iperf3 did not end") from error
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


class Flooded(NamedTuple):
    """What a flood showed."""

    frames_per_s: float
    saturated: bool
    """Whether it was the subject that carried no more. Otherwise it is the sender's rate, and the
    subject carries that much at least.
    """


def flooded(pair: Pair, flood: Sequence[str], size_bytes: int, seconds: float) -> Flooded:
    """Frames that arrive while as many are sent as one CPU can.

    A subject is saturated when not all arrive, or when it, having the higher priority, leaves the
    sender too little of the CPUs.

    Raises:
        RunError: nothing arrived.
    """
    process = subprocess.Popen(
        pair.a.command([*flood, PORT, str(size_bytes)]), stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        time.sleep(0.2)  # the queues fill
        before = _counts(pair, process.pid)
        time.sleep(seconds)
        after = _counts(pair, process.pid)
    finally:
        process.stdin.close()
        process.wait()
    _wait_until_drained(pair)
    time_ns, arrived, offered, ran_ns = (
        later - earlier for earlier, later in zip(before, after, strict=True)
    )
    if arrived == 0:
        raise RunError("no frame arrived")
    carried_all = arrived >= _ALL_RATIO * offered
    sent_all_the_time = ran_ns >= _BUSY_RATIO * time_ns
    return Flooded(arrived * 1e9 / time_ns, saturated=not (carried_all and sent_all_the_time))


def _counts(pair: Pair, sender: int) -> tuple[int, int, int, int]:
    """CLOCK_MONOTONIC, frames that arrived, frames that were to be sent, the sender's CPU time."""
    run_ns = int(Path(f"/proc/{sender}/schedstat").read_text(encoding="ascii").split()[0])
    return time.monotonic_ns(), pair.b.received_frames(), pair.a.offered_frames(), run_ns


def _wait_until_drained(pair: Pair) -> None:
    """Until nothing has arrived for 100 ms."""
    deadline = time.monotonic() + _DEADLINE_S
    before = -1
    while before != (now := pair.b.received_frames()) and time.monotonic() < deadline:
        before = now
        time.sleep(0.1)
