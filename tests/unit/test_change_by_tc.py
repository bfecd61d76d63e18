"""Rule: a live change is one tc for each namespace, and what reads back as another is an error.

tc is a script here that keeps what it was told and answers with real output from tests/data.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from testbed import clock
from testbed.errors import ReadBackError, ScenarioError
from testbed.network import netem
from testbed.network.live import change_by_tc
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Direction, LinkRecord
from testbed.scenario.notation import parse_queue
from tests.support.data import pasted
from tests.support.tc_output import options_after

MS: Final = 1_000_000
BARE: Final = Direction(
    sender="r1", sender_interface="v0", receiver="server", receiver_interface="server-eth0"
)


def way(**settings: Any) -> Direction:
    return msgspec.structs.replace(BARE, **settings)


SHAPED: Final = way(capacity_bit_s=2_500_000, queue=parse_queue("50p"))
TC: Final = """\
#!/bin/sh
folder=${0%/*}
{ printf '%s\\n' "$*"; case "$*" in *-batch*) cat;; esac; } >> "$folder/told"
case "$*" in
    *"class show"*) cat "$folder/class" ;;
    "-n"*) cat "$folder/queue" ;;
    *) cat "$folder/wire" ;;
esac
"""


@pytest.fixture
def tc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "tc").write_text(TC)
    (folder / "tc").chmod(0o755)
    (folder / "class").write_text(pasted("tc_class_10mbit.txt"))
    (folder / "queue").write_text(pasted("tc_qdisc_htb_pfifo.txt"))
    changed = f"netem {netem.settings(way(delay_ns=5 * MS), changing=True)}"
    qdiscs = [{"kind": "netem", "options": options_after("tc_wire.txt", changed)}]
    (folder / "wire").write_text(json.dumps(qdiscs))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def change(before: Direction, after: Direction, wire: Any = "kernel") -> tuple[int, int]:
    link = LinkRecord(name="r1-server", wire=wire, bottleneck=True, forward=before, reverse=BARE)
    return change_by_tc(Toolbox(), 3, link, "forward", before, after)


def told(tc: Path) -> list[str]:
    file = tc / "told"
    return file.read_text().splitlines() if file.exists() else []


def test_nothing_differs(tc: Path) -> None:
    assert change(SHAPED, SHAPED) == (0, 0)
    assert told(tc) == []


def test_the_wire_alone_is_one_process_in_the_sandboxs_own_namespace(tc: Path) -> None:
    start_ns = clock.monotonic_ns()
    began_ns, ended_ns = change(way(delay_ns=20 * MS), way(delay_ns=5 * MS))
    assert start_ns <= began_ns < ended_ns <= clock.monotonic_ns()
    assert told(tc) == [
        "-j -d -batch -",
        "qdisc change dev w3b root handle 1: netem limit 100000 delay 5ms corrupt 0% rate 1000tbit",
        "qdisc show dev w3b",
    ]


def test_what_a_relay_does_is_not_tcs(tc: Path) -> None:
    assert change(way(delay_ns=20 * MS), way(delay_ns=5 * MS), wire="relay") == (0, 0)
    assert told(tc) == []


def test_capacity_and_queue_are_changed_where_the_sender_is(tc: Path) -> None:
    after = way(capacity_bit_s=10_000_000, queue=parse_queue("50p"))
    before = way(capacity_bit_s=2_500_000, queue=parse_queue("20p"))
    began_ns, ended_ns = change(before, after, wire="relay")
    assert 0 < began_ns < ended_ns
    assert told(tc) == [
        "-n r1 -j -d -batch -",
        "class change dev v0 parent 1: classid 1:10 htb rate 10000000bit ceil 10000000bit "
        "burst 1514 cburst 1514 quantum 1514",
        "qdisc change dev v0 parent 1:10 handle 10: pfifo limit 50",
        "qdisc show dev v0",
        "-n r1 class show dev v0",
    ]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param(
            SHAPED,
            msgspec.structs.replace(SHAPED, queue=parse_queue("51p")),
            "v0: pfifo limit was set to 51 and reads back as 50",
            id="queue",
        ),
        pytest.param(
            SHAPED,
            msgspec.structs.replace(SHAPED, capacity_bit_s=3_000_000),
            "v0: capacity in bit/s was set to 3000000 and reads back as 10000000",
            id="capacity",
        ),
        pytest.param(
            way(delay_ns=20 * MS),
            way(delay_ns=6 * MS),
            "w3b: netem's delay in s was set to 0.006 and reads back as 0.005",
            id="wire",
        ),
    ],
)
def test_what_reads_back_as_another_is_an_error(
    tc: Path, before: Direction, after: Direction, message: str
) -> None:
    with pytest.raises(ReadBackError) as caught:
        change(before, after)
    assert message in str(caught.value)
    assert told(tc) != []


def test_what_would_lose_packets_is_refused_before_anything_is_done(tc: Path) -> None:
    after = msgspec.structs.replace(SHAPED, queue=parse_queue("codel"), delay_ns=5 * MS)
    with pytest.raises(ScenarioError, match=r"the discipline cannot change \(pfifo, codel\)"):
        change(SHAPED, after)
    assert told(tc) == []
