"""Calibrations as they are stored, with whatever a test wants of them."""

from __future__ import annotations

from typing import Any

from testbed.calibration import limits, store
from testbed.calibration.record import (
    Backend,
    BackendName,
    Calibration,
    CarriedMeasure,
    Circumstances,
    DelayMeasure,
    Limits,
    LoadBeside,
    LossMeasure,
    RateMeasure,
    Spread,
    TcpMeasure,
)

MS = 1_000_000
US = 1_000
MBIT = 10**6


def spread(p99_us: int, p50_us: int = 20, count: int = 1000) -> Spread:
    """Quantiles of times."""
    return Spread(count=count, p50_ns=p50_us * US, p99_ns=p99_us * US, max_ns=p99_us * 3 * US)


def circumstances(**changes: Any) -> Circumstances:
    """A quiet machine and a punctual relay."""
    return Circumstances(
        **{
            "duration_ns": 2000 * MS,
            "stolen_cpu_ratio": 0.0,
            "busy_cpu_ratio": 0.6,
            "relay_cpu_ratio": 0.3,
            "relay_lateness": spread(5, 2),
            **changes,
        }
    )


def rate(mbit: int, **changes: Any) -> RateMeasure:
    """A capacity that was kept."""
    return RateMeasure(
        **{
            "capacity_bit_s": mbit * MBIT,
            "packets": 1000,
            "long_run_error_ratio": 0.0001,
            "window_ns": 100 * MS,
            "windows": 20,
            "window_error_p50_ratio": 0.001,
            "window_error_max_ratio": 0.01,
            "capture_missed_packets": 0,
            "sender_ran_dry": 0,
            "circumstances": circumstances(),
            **changes,
        }
    )


def backend(
    name: BackendName = "relay",
    *,
    p99_us: int = 50,
    rates: tuple[RateMeasure, ...] = (rate(1), rate(10), rate(100)),
    **changes: Any,
) -> Backend:
    """A measured backend, whose limits are derived as they are after a measurement."""
    made = Backend(
        **{
            "name": name,
            "measured": True,
            "scheduler": "fifo" if name == "relay" else None,
            "delays": [
                DelayMeasure(
                    delay_ns=delay * MS,
                    capacity_bit_s=10 * MBIT,
                    loaded=loaded,
                    error=spread(p99_us if loaded else p99_us // 2),
                )
                for loaded in (False, True)
                for delay in (10, 1, 50)
            ],
            "idle": circumstances(),
            "loaded": circumstances(busy_cpu_ratio=0.99),
            "load": LoadBeside(completed_requests=1000, failed_requests=0, requests_per_s=333.0),
            "rates": list(rates),
            "loss": LossMeasure(
                loss_ratio=0.01,
                sent_packets=100_000,
                lost_packets=989,
                confidence=0.999,
                low_ratio=0.0089,
                high_ratio=0.011,
                circumstances=circumstances(),
            ),
            "carried": CarriedMeasure(
                packets_per_s=100_000.0, packets=200_000, circumstances=circumstances()
            ),
            "tcp": TcpMeasure(
                goodput_bit_s=1e9, retransmits=0, circumstances=circumstances(duration_ns=MS)
            ),
            **changes,
        }
    )
    return _with(made, limits.limits(made))


def _with(made: Backend, found: Limits | None) -> Backend:
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return Backend(**{**fields, "limits": found})


NO_KERNEL = Backend(name="kernel", measured=False, reason="this kernel has no netem")


def calibration(*backends: Backend, **changes: Any) -> Calibration:
    """One of this machine and user."""
    return Calibration(
        **{
            "testbed_version": "0.1.0",
            "measured_utc": "2026-11-25T12:00:00+00:00",
            "quick": False,
            "machine": store.this_machine(),
            "backends": list(backends or (backend(), NO_KERNEL)),
            **changes,
        }
    )
