"""Rule: a benchmark of the analysis refuses what measures nothing, and pairs rounds with rounds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.analysis.__main__ import main
from benchmarks.analysis.measure import DECODING, OURS, TSHARK, Used, argvs, measure, rows
from benchmarks.analysis.table import table
from testbed.errors import RunError
from tests.support.people import REPOSITORY, environment


def used(subject: str, wall_s: float, cpu_s: float, memory_bytes: int = 10**8) -> Used:
    return Used(subject=subject, wall_s=wall_s, cpu_s=cpu_s, memory_bytes=memory_bytes)


@pytest.mark.parametrize("option", ["--rounds", "--packets"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "", "\u0663"])
def test_whole_numbers(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([f"{option}={value}"])
    assert caught.value.code == 2
    assert f'expected a whole number of at least 1 (got "{value}")' in capsys.readouterr().err


def test_what_is_no_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 4
    assert "has no captures to analyse" in capsys.readouterr().err


def test_ratios_are_of_the_same_round() -> None:
    """The second round was slow for both: the ratios are 10, 8 and 10."""
    turns = [
        used(OURS, 1, 2), used(TSHARK, 10, 10), used(OURS, 4, 4), used(TSHARK, 32, 16),
        used(OURS, 1, 2, 2 * 10**8), used(TSHARK, 10, 10),
    ]  # fmt: skip
    ours, theirs = rows(turns, 10**6)
    assert (ours.packets_per_s, ours.of_tshark, ours.of_tshark_cpu) == (10**6, 10, 5)
    assert (ours.cpu_us_per_packet, ours.cpus, ours.memory_bytes) == (2, 2, 2 * 10**8)
    assert theirs.of_tshark == 1
    assert "our analysis          1000        10.0        2.00" in table([ours])


def test_without_tshark_there_is_no_ratio() -> None:
    (row,) = rows([used(DECODING, 1, 2)], 10**6)
    assert row.of_tshark is None
    assert table([row]).splitlines()[-1].split()[:4] == ["our", "decoding", "1000", "-"]


def test_tshark_reads_every_capture(tmp_path: Path) -> None:
    (tmp_path / "packets").mkdir()
    for name in ("b.pcapng", "a.pcapng"):
        (tmp_path / "packets" / name).touch()
    commands = argvs(TSHARK, tmp_path, "/usr/bin/tshark")
    assert [Path(argv[3]).name for argv in commands] == ["a.pcapng", "b.pcapng"]


def test_a_child_is_measured_by_itself() -> None:
    work = "x = bytearray(64 * 2**20)\nwhile __import__('time').process_time() < 0.2: pass"
    # By a small process: until it calls exec, a child counts its parent's memory as its own.
    program = (
        "import sys, msgspec; from benchmarks.analysis.measure import measure; "
        "found = measure('busy', [[sys.executable, '-c', sys.argv[1]]]); "
        "print(msgspec.json.encode(found).decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, work],
        env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = msgspec.json.decode(done.stdout, type=Used)
    assert found.cpu_s >= 0.2
    assert found.wall_s >= 0.2
    assert 64 * 2**20 < found.memory_bytes < 2**30


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(RunError, match="ended with 3: so it is"):
        measure(
            "bad",
            [[sys.executable, "-c", "import sys; print('so it is', file=sys.stderr); sys.exit(3)"]],
        )
