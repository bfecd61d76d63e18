"""Packet columns out of frames, through a real file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from testbed.analysis.captures import Packets, read_capture
from tests.builders.pcapng import Interface, Packet, pcapng


def columns(folder: Path, frames: Sequence[bytes]) -> Packets:
    """The columns of a capture of `frames`, 1 us apart."""
    path = folder / "frames.pcapng"
    packets = [Packet(1000 * number, frame) for number, frame in enumerate(frames)]
    path.write_bytes(pcapng([Interface("eth0", snaplen=0)], packets))
    return read_capture(path).packets
