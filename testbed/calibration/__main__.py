"""The process inside the sandbox: `python -m testbed.calibration CONFIG_JSON`.

It measures one backend, tells its progress as lines of JSON on a pipe and writes what it found as
JSON to a file; a failure is the last line, and its exit code that of the error.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from testbed.calibration import measure
from testbed.calibration.config import CalibrationConfig
from testbed.calibration.lab import build_lab
from testbed.calibration.limits import limits
from testbed.calibration.record import Backend
from testbed.errors import TestbedError
from testbed.live.conduct import teller
from testbed.network import kernel_wire
from testbed.network.tools import Toolbox
from testbed.recording.layout import write_atomically
from testbed.recording.progress import Failure, OnProgress, Phase, encode_progress
from testbed.report.format import rate
from testbed.units import NS_PER_MS, NS_PER_S

NO_NETEM: Final = "this kernel has no netem (CONFIG_NET_SCH_NETEM, module sch_netem)"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long everything is looked at."""

    idle_ns: int
    loaded_ns: int
    rates_ns: tuple[int, ...]
    """For each of the lab's capacities, the lowest first; those beyond are left out."""
    loss_packets: int
    carried_ns: int
    tcp_s: int


WHOLE: Final = Effort(
    idle_ns=3 * NS_PER_S,
    loaded_ns=5 * NS_PER_S,
    rates_ns=(4 * NS_PER_S, 3 * NS_PER_S, 3 * NS_PER_S, 2 * NS_PER_S, 2 * NS_PER_S),
    loss_packets=100_000,
    carried_ns=2 * NS_PER_S,
    tcp_s=2,
)
"""At 1 Mbit/s 4 s are 40 windows and 330 full frames; 100 000 packets tell 1 % within a tenth."""
QUICK: Final = Effort(
    idle_ns=1200 * NS_PER_MS,
    loaded_ns=2 * NS_PER_S,
    rates_ns=(2 * NS_PER_S, 1500 * NS_PER_MS, 1 * NS_PER_S),
    loss_packets=20_000,
    carried_ns=700 * NS_PER_MS,
    tcp_s=1,
)


def measure_backend(config: CalibrationConfig, tell: OnProgress) -> Backend:
    """Measures all there is to measure of a backend.

    Raises:
        TestbedError: it failed.
    """
    if config.backend == "kernel" and not kernel_wire.is_available(Toolbox()):
        return Backend(name="kernel", measured=False, reason=NO_NETEM)
    effort = QUICK if config.quick else WHOLE

    def say(text: str) -> None:
        tell(Phase(text=f"{config.backend}: {text}"))

    say("building the network")
    lab = build_lab(config.backend, Path(config.root), config.relay_cpu)
    say("delays")
    idle = measure.delays(lab, effort.idle_ns, loaded=False)
    say("delays with an HTTP load beside them")
    loaded = measure.delays(lab, effort.loaded_ns, loaded=True)
    rates = []
    for link, duration_ns in zip(lab.rate_links, effort.rates_ns, strict=False):
        say(f"a rate of {rate(link.forward.capacity_bit_s)}")
        rates.append(measure.rate(lab, link, duration_ns))
    say("loss")
    loss = measure.loss(lab, effort.loss_packets)
    say("packets without a capacity")
    carried = measure.carried(lab, effort.carried_ns)
    say("TCP without a capacity")
    tcp = measure.tcp(lab, effort.tcp_s)
    found = Backend(
        name=config.backend,
        measured=True,
        scheduler=idle.scheduler,
        relay_cpu=config.relay_cpu if config.backend == "relay" else None,
        delays=[*idle.delays, *loaded.delays],
        idle=idle.circumstances,
        loaded=loaded.circumstances,
        load=loaded.load,
        rates=rates,
        loss=loss,
        carried=carried,
        tcp=tcp,
        tcp_reason=measure.NO_IPERF3 if tcp is None else "",
    )
    return msgspec.structs.replace(found, limits=limits(found))


def main(argument: str) -> int:
    """Measures; returns the exit code."""
    config = msgspec.json.decode(argument, type=CalibrationConfig)
    # Debian keeps /usr/sbin off an ordinary user's path; Mininet looks for ifconfig on it.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        found = measure_backend(config, teller(config.progress_fd))
        write_atomically(Path(config.result), msgspec.json.encode(found))
    except TestbedError as error:
        failure = Failure(exit_code=error.exit_code, message=str(error), where=error.where)
        os.write(config.progress_fd, encode_progress(failure))
        return error.exit_code
    except KeyboardInterrupt:
        return 0  # who asked for the end knows
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
