"""Captures (pcapng) as columns: blocks, headers, digests. No packet becomes a Python object."""

from testbed.analysis.captures.blocks import CaptureInterface
from testbed.analysis.captures.packets import Capture, Packets, read_capture

__all__ = ["Capture", "CaptureInterface", "Packets", "read_capture"]
