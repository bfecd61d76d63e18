"""Rule: a calibration measures real links, keeps what it found, and leaves nothing else behind.

Counts are exact. Bounds on times are only such that a link that does something else altogether
falls out of them: the CPUs are shared with others.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from testbed.analysis.metrics.binomial import interval
from testbed.calibration import store
from testbed.calibration.calibrate import calibrate
from testbed.calibration.limits import rate_faults
from testbed.calibration.record import Backend, Calibration
from testbed.errors import EXIT_DONE, EXIT_MACHINE_CANNOT, EXIT_WRONG_REQUEST, MachineError
from tests.builders.calibrations import backend, calibration, rate
from tests.support.people import environment
from tests.support.runs import CLI, manifest_of, run_argv
from tests.support.sandboxes import in_sandbox

END_S = 120.0
"""A quick calibration takes under 20 s on an idle machine."""
MS = 1_000_000


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *words],
        cwd=home,
        env=environment(XDG_STATE_HOME=str(home / "state"), TMPDIR=str(home)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=END_S,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mark: str) -> Path:
    return tmp_path_factory.mktemp("calibrate")


@pytest.fixture(scope="module")
def done(home: Path) -> subprocess.CompletedProcess[str]:
    return command(home, "calibrate", "--quick", "--link-backend", "relay", "--json")


@pytest.fixture(scope="module")
def found(done: subprocess.CompletedProcess[str]) -> Calibration:
    assert done.returncode == EXIT_DONE, done.stderr
    return msgspec.json.decode(done.stdout, type=Calibration)


@pytest.fixture(scope="module")
def relay(found: Calibration) -> Backend:
    measured = found.of("relay")
    assert measured is not None
    return measured


def test_what_is_printed_is_what_is_kept_and_nothing_else_is_left(
    found: Calibration, home: Path
) -> None:
    folder = home / "state" / "asgi-testbed"
    assert store.read(folder / "calibration.json") == store.Stored(found)
    assert [path.name for path in folder.iterdir()] == ["calibration.json"]
    assert [path.name for path in home.iterdir()] == ["state"]
    assert found.machine == store.this_machine()
    assert found.quick


def test_progress_goes_to_standard_error(done: subprocess.CompletedProcess[str]) -> None:
    lines = done.stderr.splitlines()
    assert lines[0] == "testbed: relay: building the network"
    assert all(line.startswith("testbed: relay: ") for line in lines)


def test_every_frame_for_the_delay_comes(relay: Backend) -> None:
    assert [(delay.delay_ns // MS, delay.loaded) for delay in relay.delays] == [
        (10, False), (1, False), (50, False), (10, True), (1, True), (50, True),
    ]  # fmt: skip
    for loaded in (False, True):
        counts = [delay.error.count for delay in relay.delays if delay.loaded is loaded]
        # Sent in turn, and none is lost.
        assert max(counts) - min(counts) <= 1
        assert min(counts) > 100
    # A delay that was not made, or made twice, would be off by 1, 10 and 50 ms.
    assert all(0 < delay.error.p50_ns < 1 * MS for delay in relay.delays if not delay.loaded)


def test_the_load_beside_it_was_one(relay: Backend) -> None:
    assert relay.load is not None
    assert relay.load.failed_requests == 0
    assert relay.load.completed_requests > 50


def test_a_rate_is_that_of_its_link(relay: Backend) -> None:
    assert [rate.capacity_bit_s for rate in relay.rates] == [10**6, 10**7, 10**8]
    for measured in relay.rates[:2]:
        assert measured.capture_missed_packets == 0
        if "sender" in rate_faults(measured):
            continue  # the machine was too busy to fill it
        # A shaper that counts other bytes (4 of a checksum, 14 of the header) is 0.3 to 1 % off.
        assert abs(measured.long_run_error_ratio) < 0.1
        assert measured.windows >= 10


def test_the_loss_is_exactly_that_of_the_seed(relay: Backend) -> None:
    loss = relay.loss
    assert loss is not None
    assert loss.sent_packets == 20_000 - loss.circumstances.relay_overflow_packets
    assert (loss.low_ratio, loss.high_ratio) == interval(
        loss.lost_packets, loss.sent_packets, loss.confidence
    )
    assert loss.fits


def test_the_relay_says_how_late_it_was(relay: Backend) -> None:
    assert relay.scheduler in ("fifo", "other")
    assert relay.idle is not None
    assert relay.idle.relay_lateness is not None
    # All frames of the three delays went over it, and no other.
    probes = sum(delay.error.count for delay in relay.delays if not delay.loaded)
    assert relay.idle.relay_lateness.count == probes
    assert relay.carried is not None
    assert relay.carried.packets_per_s > 1000
    assert relay.limits is not None


@pytest.mark.skipif(
    in_sandbox(["sh", "-c", "PATH=$PATH:/usr/sbin:/sbin tc qdisc add dev lo root netem"]).returncode
    == 0,
    reason="this kernel has netem",
)
def test_without_netem_the_kernel_backend_cannot_be_measured(tmp_path: Path) -> None:
    result = command(tmp_path, "calibrate", "--link-backend", "kernel", "--quick")
    assert result.returncode == EXIT_MACHINE_CANNOT
    assert "kernel: this kernel has no netem" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_backend_that_does_not_exist(tmp_path: Path) -> None:
    result = command(tmp_path, "calibrate", "--link-backend", "netem")
    assert result.returncode == EXIT_WRONG_REQUEST
    assert result.stderr == (
        'testbed: error: --link-backend: expected one of "auto", "kernel", "relay" (got "netem")\n'
    )
    assert list(tmp_path.iterdir()) == []


def test_nowhere_to_keep_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    told: list[Any] = []
    with pytest.raises(MachineError, match="cannot store"):
        calibrate("relay", on_progress=told.append)
    assert told == []


def test_a_run_that_asks_for_more_is_warned_in_its_recording_and_at_once(tmp_path: Path) -> None:
    environ = environment(XDG_STATE_HOME=str(tmp_path))
    kept = calibration(backend(rates=(rate(1),)))
    store.write(kept, tmp_path / "asgi-testbed" / "calibration.json")
    done = subprocess.run(
        run_argv(tmp_path / "out", 5), env=environ, capture_output=True, text=True, check=False,
        timeout=END_S,
    )  # fmt: skip
    said = (
        "client-r1 reverse (and 1 more): capacity 10 Mbit/s, and by the relay no more than "
        "1 Mbit/s was found faithful here (testbed calibrate, 2026-11-25)"
    )
    assert done.stderr.splitlines()[0] == f"testbed: warning: {said}", done.stderr
    assert manifest_of(tmp_path / "out").warnings == [said]


def test_a_stop_keeps_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*CLI, "calibrate", "--quick"],
        env=environment(XDG_STATE_HOME=str(tmp_path / "state"), TMPDIR=str(tmp_path)),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "testbed: relay: building the network\n"
        process.terminate()
        rest = process.stderr.read()
    assert process.returncode == 4
    assert "testbed: error: stopped by the user; nothing was stored" in rest
    assert list(tmp_path.iterdir()) == []
