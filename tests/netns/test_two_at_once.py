"""Rule: any number of runs at once, with the same names of nodes and interfaces, never touch one
another.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed.recording.layout import Layout
from tests.support.pcapng import read_pcapng
from tests.support.people import environment
from tests.support.relay_log import numbers, read_relay_log
from tests.support.runs import manifest_of, run_argv, unfinished

RUNS = 2
END_S = 120.0
"""A run takes 4 s on an idle machine, two at once on two busy CPUs longer."""


def test_two_runs_at_once_have_the_same_names_and_each_its_own_packets(tmp_path: Path) -> None:
    folders = [tmp_path / f"run{n}" for n in range(RUNS)]
    running = [
        subprocess.Popen(
            run_argv(folder, 40), env=environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )
        for folder in folders
    ]  # fmt: skip
    errors = [process.communicate(timeout=END_S)[1] for process in running]
    # 5: done, but two runs on two shared CPUs may be too late to be trusted; that is no failure.
    assert {process.returncode for process in running} <= {0, 5}, errors
    manifests = [manifest_of(folder) for folder in folders]
    assert [manifest.state for manifest in manifests] == ["complete"] * RUNS
    first, second = manifests
    assert first.nodes == second.nodes
    assert first.links == second.links
    spans = [(m.load_started_ns or 0, m.load_ended_ns or 0) for m in manifests]
    assert max(start for start, _ in spans) < min(end for _, end in spans), "not at once"

    lost = []
    for folder in folders:
        assert unfinished(folder) == []
        log = read_relay_log(Layout(folder).segment("link.r1-server"), "forward")
        sent = [f for f in read_pcapng(Layout(folder).capture("r1")).frames
                if f.source_mac == "02:00:00:00:02:01"]  # fmt: skip
        # All that this run's router sent and nothing else was on this run's link.
        assert [packet.digest for packet in log] == [frame.digest for frame in sent]
        lost.append((len(log), numbers(log, "lost")))
    both = min(count for count, _ in lost)
    assert len({tuple(n for n in numbers if n < both) for _, numbers in lost}) == 1
