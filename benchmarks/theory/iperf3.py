"""What iperf3 says of one flow (its JSON, version 3.12)."""

from __future__ import annotations

import msgspec

from testbed.errors import ToolError


class _Sum(msgspec.Struct, frozen=True):
    bytes: int
    seconds: float


class _Sender(msgspec.Struct, frozen=True):
    retransmits: int
    mean_rtt: int
    min_rtt: int


class _EndStream(msgspec.Struct, frozen=True):
    sender: _Sender


class _End(msgspec.Struct, frozen=True):
    sum_received: _Sum
    streams: list[_EndStream]
    sender_tcp_congestion: str


class _Start(msgspec.Struct, frozen=True):
    tcp_mss_default: int


class _Window(msgspec.Struct, frozen=True):
    snd_cwnd: int
    snd_wnd: int


class _Interval(msgspec.Struct, frozen=True):
    streams: list[_Window]


class _Output(msgspec.Struct, frozen=True):
    start: _Start
    intervals: list[_Interval]
    end: _End


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """One flow, from the end of the omitted seconds on."""

    goodput_bit_s: float
    """By the receiver's count of bytes."""
    mss_bytes: int
    """Payload of a full segment, options taken off."""
    rtt_ns: int
    """The sender's smoothed round trip time, the mean of its values each second (TCP_INFO)."""
    retransmits: int
    congestion_control: str
    window_limited_seconds: int
    """Seconds at whose end the receiver's window was no larger than the congestion window."""


def parse(text: str) -> Flow:
    """The flow in the output of `iperf3 --json` of a client that sends.

    Raises:
        ToolError: iperf3 says that it failed, or this is another form.
    """
    try:
        failed = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("error")
        if failed is not None:
            raise ToolError(["iperf3"], 1, msgspec.json.decode(failed, type=str))
        output = msgspec.json.decode(text, type=_Output)
    except msgspec.MsgspecError as error:
        raise ToolError(["iperf3"], 0, f"its output has an unknown form: {error}") from error
    received, sender = output.end.sum_received, output.end.streams[0].sender
    windows = [stream for interval in output.intervals for stream in interval.streams]
    return Flow(
        goodput_bit_s=received.bytes * 8 / received.seconds,
        mss_bytes=output.start.tcp_mss_default,
        rtt_ns=sender.mean_rtt * 1000,
        retransmits=sender.retransmits,
        congestion_control=output.end.sender_tcp_congestion,
        window_limited_seconds=sum(w.snd_wnd <= w.snd_cwnd for w in windows),
    )
