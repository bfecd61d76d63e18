"""The sampler process: `python -m testbed.probes CONFIG_JSON`, until standard input closes."""

from __future__ import annotations

import gc
import signal
import sys

import msgspec

from testbed.probes.sampler import Sampler, SamplerAnswer, SamplerConfig


def main(argument: str) -> int:
    """Runs the sampler; returns its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us says when to stop
    sampler = Sampler(msgspec.json.decode(argument, type=SamplerConfig))
    gc.freeze()
    _answer(SamplerAnswer())
    sampler.run(sys.stdin.fileno())
    _answer(
        SamplerAnswer(
            samples=sampler.samples,
            missed=sampler.missed,
            busy_ns=sampler.busy_ns,
            interval_ns=sampler.interval_ns,
        )
    )
    return 0


def _answer(answer: SamplerAnswer) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
