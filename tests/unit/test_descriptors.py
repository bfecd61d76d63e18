"""Rule: open descriptors are counted as the kernel has them, against the limit of their process;
what could not be counted has a reason and is never zero."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.analysis.decode.descriptors import decode_descriptors
from testbed.analysis.decode.samples import Samples
from testbed.analysis.metrics.descriptors import DescriptorUse, nearest_to_limit
from testbed.events.socket import DescriptorSample
from testbed.probes.sampler import beat_ns
from testbed.probes.sources import Descriptors

MS = 1_000_000
COUNT = 23
PROGRAM = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
before = len(os.listdir("/proc/self/fd"))
kept = [os.pipe() for _ in range(int(sys.argv[1]))]
print(before, flush=True)
sys.stdin.read()
"""


def counted(process_id: int) -> dict[str, object]:
    found: dict[str, object] = json.loads(Descriptors("server", process_id).read())
    return found


@pytest.mark.parametrize("kernel", ["counts itself", "before 6.2"])
def test_as_many_as_were_opened(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel == "before 6.2":
        # There the folder's size is 0 (fs/proc/fd.c).
        said = os.stat_result((0,) * 10)
        monkeypatch.setattr(Path, "stat", lambda _self: said)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(COUNT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        before = int(child.stdout.readline()) - 1  # without the one that lists the folder
        source = Descriptors("server", child.pid)
        found = json.loads(source.read())
        child.stdin.close()
        child.wait()
        assert found == {"process": "server", "open": before + 2 * COUNT, "soft_limit": 100}
        assert source.read() == b""  # it has ended


def test_a_zombie_has_none_and_is_not_said_to_have_zero() -> None:
    with subprocess.Popen(["true"]) as child:
        # Ended and not waited for: /proc still has it.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert Descriptors("server", child.pid).read() == b""


def test_ones_own() -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = counted(os.getpid())
    assert found["soft_limit"] == limit
    with Path("/dev/null").open():
        assert counted(os.getpid())["open"] == int(str(found["open"])) + 1


def test_what_may_not_be_read_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    payload = Descriptors("server", os.getpid()).read()
    table, why = decode_descriptors(samples(payload))
    assert table.height == 0
    assert why == "of server they cannot be counted: [Errno 13] Permission denied"
    assert nearest_to_limit(table) is None


def samples(*payloads: bytes) -> Samples:
    found = Samples()
    for place, payload in enumerate(payloads):
        found.node.append("r1")
        found.started_ns.append(place * 100)
        found.ended_ns.append(place * 100 + 10)
        found.payload.append(payload)
    return found


def sample(process: str, count: int, limit: int | None) -> bytes:
    return json.dumps({"process": process, "open": count, "soft_limit": limit}).encode()


def test_samples_are_rows_by_time_and_process() -> None:
    table, why = decode_descriptors(
        samples(sample("server", 7, 1024), b"\xff{", b"{}", sample("client", 9, None))
    )
    assert why == ""
    assert table.columns == list(DescriptorSample.__struct_fields__)
    assert table.rows() == [(5, "r1", "server", 7, 1024), (305, "r1", "client", 9, None)]


@pytest.mark.parametrize(
    ("payloads", "nearest", "is_near"),
    [
        ([("server", 60, 100), ("client", 90, 1000)], ("server", 60, 100), True),
        ([("server", 49, 100), ("server", 20, 100)], ("server", 49, 100), False),
        ([("server", 50, 100), ("client", 5, 8)], ("client", 5, 8), True),
        ([("server", 50, None), ("client", 60, None)], ("client", 60, None), False),
        ([("server", 900, None), ("client", 1, 1000)], ("client", 1, 1000), False),
    ],
)
def test_who_came_nearest_to_its_limit(
    payloads: list[tuple[str, int, int | None]],
    nearest: tuple[str, int, int | None],
    is_near: bool,
) -> None:
    table, _ = decode_descriptors(samples(*(sample(*one) for one in payloads)))
    found = nearest_to_limit(table)
    process, count, limit = nearest
    assert found == DescriptorUse(count, limit, process)
    assert found is not None
    assert found.is_near == is_near


def test_where_nothing_was_sampled() -> None:
    assert nearest_to_limit(None) is None


@pytest.mark.parametrize(("cost_ms", "beat_ms"), [(0.1, 10), (2.5, 10), (2.6, 10.4), (25, 100)])
def test_the_beat_leaves_three_quarters_of_a_cpu_free(cost_ms: float, beat_ms: float) -> None:
    assert beat_ns(10 * MS, round(cost_ms * MS)) == round(beat_ms * MS)
