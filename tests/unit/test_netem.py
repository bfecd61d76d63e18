"""Rule: netem is told all of a direction in one line, and what reads back as another is named.

Real output of tc is in tests/data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from testbed.errors import ReadBackError
from testbed.network import kernel_wire, netem
from testbed.network.relay.distributions import named_table
from testbed.network.tools import Toolbox
from testbed.recording.manifest import Direction
from testbed.scenario import tables
from testbed.scenario.impairments import Variation
from testbed.scenario.notation import parse_loss, parse_pick, parse_variation
from tests.support.data import pasted
from tests.support.tc_output import options_after, qdiscs_by_command

BARE: Final = Direction(sender="a", sender_interface="a-0", receiver="b", receiver_interface="b-0")
MS: Final = 1_000_000


def way(**settings: Any) -> Direction:
    """A direction with settings as people write them; `delay_ns` in ns."""
    parse = {
        "loss": parse_loss,
        "delay_variation": parse_variation,
        "duplicate": parse_pick,
        "corrupt": parse_pick,
    }
    found = {n: parse[n](value) if n in parse else value for n, value in settings.items()}
    return msgspec.structs.replace(BARE, **found)


EVERYTHING: Final = way(
    delay_ns=20 * MS,
    delay_variation="2ms normal",
    loss="gilbert-elliott p 1% r 25% 1-h 75% 1-k 0.1%",
    duplicate="1%",
    corrupt="0.1%",
)
STATE: Final = way(
    delay_ns=20 * MS,
    delay_variation="2ms overtaking",
    loss="markov p13 50% p31 25% p14 50%",
)


@pytest.mark.parametrize(
    ("direction", "added", "changed"),
    [
        pytest.param(way(), "limit 100000", "limit 100000 corrupt 0% rate 1000tbit", id="nothing"),
        pytest.param(
            way(delay_ns=1_234_567, loss="1.23456789%"),
            "limit 100000 delay 1234.567us loss random 1.23456789%",
            "limit 100000 delay 1234.567us loss random 1.23456789% corrupt 0% rate 1000tbit",
            id="delay and loss",
        ),
        pytest.param(
            way(delay_ns=20 * MS, delay_variation="0ms normal"),
            "limit 100000 delay 20ms",
            "limit 100000 delay 20ms corrupt 0% rate 1000tbit",
            id="a variation of nothing",
        ),
        pytest.param(
            way(delay_variation="2ms"),
            "limit 100000 delay 0ms 2ms rate 1000tbit",
            "limit 100000 delay 0ms 2ms distribution uniform corrupt 0% rate 1000tbit",
            id="uniform needs a table only where there may be another",
        ),
        pytest.param(
            EVERYTHING,
            "limit 100000 delay 20ms 2ms distribution normal loss gemodel 1% 25% 75% 0.1% "
            "duplicate 1% corrupt 0.1% rate 1000tbit",
            "limit 100000 delay 20ms 2ms distribution normal loss gemodel 1% 25% 75% 0.1% "
            "duplicate 1% corrupt 0.1% rate 1000tbit",
            id="everything",
        ),
        pytest.param(
            STATE,
            "limit 100000 delay 20ms 2ms loss state 50% 25% 0% 100% 49.9999999884%",
            "limit 100000 delay 20ms 2ms distribution uniform "
            "loss state 50% 25% 0% 100% 49.9999999884% corrupt 0% rate 0bit",
            id="four states, overtaking",
        ),
    ],
)
def test_one_line_says_all(direction: Direction, added: str, changed: str) -> None:
    assert netem.settings(direction) == added
    assert netem.settings(direction, changing=True) == changed


def test_two_halves_have_room_in_the_32_bits_of_their_sum() -> None:
    words = netem.settings(STATE).split()
    first, second = (float(words[place].rstrip("%")) / 100 for place in (-5, -1))
    most = 2**32 - 1
    assert round(first * most) + round(second * most) == most
    assert round(0.5 * most) * 2 > most


def test_a_change_is_one_command_and_none_where_nothing_differs() -> None:
    before, after = way(delay_ns=20 * MS), way(delay_ns=5 * MS, loss="1%")
    assert kernel_wire.change_commands("w0b", before, after) == [
        "qdisc change dev w0b root handle 1: netem limit 100000 delay 5ms loss random 1% "
        "corrupt 0% rate 1000tbit"
    ]
    shaped = msgspec.structs.replace(before, capacity_bit_s=10**6)
    assert kernel_wire.change_commands("w0b", before, shaped) == []


def test_each_direction_has_the_inner_end_at_its_receiver() -> None:
    assert kernel_wire.device_of(3, "forward") == "w3b"
    assert kernel_wire.device_of(3, "reverse") == "w3a"


LOSSY: Final = way(delay_ns=1_234_567, loss="1.23456789%")


def read_back(direction: Direction, *, changing: bool = False) -> dict[str, Any]:
    """What tc printed after it was told this direction."""
    return options_after("tc_wire.txt", f"netem {netem.settings(direction, changing=changing)}")


@pytest.mark.parametrize(
    ("direction", "changing"),
    [
        pytest.param(way(), False, id="nothing"),
        pytest.param(LOSSY, False, id="delay and loss"),
        pytest.param(EVERYTHING, False, id="everything"),
        pytest.param(STATE, False, id="four states"),
        pytest.param(way(delay_ns=5 * MS), True, id="after a change"),
        pytest.param(
            way(delay_ns=20 * MS, delay_variation="2ms overtaking"),
            True,
            id="after a change that lets packets overtake",
        ),
    ],
)
def test_what_debians_kernel_reads_back_is_accepted(direction: Direction, changing: bool) -> None:
    found = read_back(direction, changing=changing)
    assert netem.differences(direction, found, changing=changing) == []


@pytest.mark.parametrize(
    ("direction", "had", "expected"),
    [
        pytest.param(
            way(delay_ns=1_240_000, loss="1.23456789%"),
            LOSSY,
            ["delay in s was set to 0.00124 and reads back as 0.001233"],
            id="7 us of delay",
        ),
        pytest.param(
            way(delay_ns=1_234_567, loss="1.2347%"),
            LOSSY,
            ["loss was set to 0.012347 and reads back as 0.0123457"],
            id="a millionth of loss",
        ),
        pytest.param(
            way(delay_ns=1_234_567),
            LOSSY,
            ["loss was set to 0.0 and reads back as 0.0123457"],
            id="loss that nobody asked for",
        ),
        pytest.param(
            msgspec.structs.replace(EVERYTHING, duplicate=None, corrupt=None),
            EVERYTHING,
            [
                "duplicate was set to 0.0 and reads back as 0.01",
                "corrupt was set to 0.0 and reads back as 0.001",
            ],
            id="what was there before",
        ),
        pytest.param(
            msgspec.structs.replace(EVERYTHING, loss=None),
            EVERYTHING,
            ["loss-gemodel was not set and reads back"],
            id="another model of loss",
        ),
        pytest.param(
            msgspec.structs.replace(EVERYTHING, loss=parse_loss("gilbert-elliott p 1% r 24%")),
            EVERYTHING,
            [
                "loss r was set to 0.24 and reads back as 0.25",
                "loss 1-h was set to 1.0 and reads back as 0.75",
                "loss 1-k was set to 0.0 and reads back as 0.001",
            ],
            id="other parameters of the model",
        ),
        pytest.param(
            msgspec.structs.replace(EVERYTHING, delay_variation=parse_variation("3ms normal")),
            EVERYTHING,
            ["delay variation in s was set to 0.003 and reads back as 0.002"],
            id="variation",
        ),
        pytest.param(
            msgspec.structs.replace(
                EVERYTHING, delay_variation=parse_variation("2ms normal overtaking")
            ),
            EVERYTHING,
            ["rate in B/s was set to 0 and reads back as 125000000000000"],
            id="a rate that would keep the order",
        ),
        pytest.param(
            msgspec.structs.replace(STATE, loss=parse_loss("gilbert-elliott p 1% r 25%")),
            STATE,
            [
                "loss p was set to 0.01 and reads back as None",
                "loss r was set to 0.25 and reads back as None",
                "loss 1-h was set to 1.0 and reads back as None",
                "loss 1-k was set to 0.0 and reads back as None",
                "loss-state was not set and reads back",
            ],
            id="four states instead of two",
        ),
    ],
)
def test_what_reads_back_as_another_is_named(
    direction: Direction, had: Direction, expected: list[str]
) -> None:
    assert netem.differences(direction, read_back(had)) == expected


def test_a_wire_that_reads_back_as_another_is_an_error_with_its_device() -> None:
    found = [{"kind": "netem", "options": read_back(way())}]
    kernel_wire.check("w0b", way(), found)
    with pytest.raises(ReadBackError, match="w0b: netem's delay in s was set to 0\\.02 and"):
        kernel_wire.check("w0b", way(delay_ns=20 * MS), found)
    with pytest.raises(ReadBackError, match="w0b: no netem after it was set"):
        kernel_wire.check("w0b", way(), json.loads(pasted("tc_qdisc_pfifo.txt")))


def test_an_overflow_of_the_delay_line_is_in_mirreds_overlimits() -> None:
    # 25 frames at once at a limit of 10; then 100 frames of which netem lost about half.
    full, lossy = qdiscs_by_command("tc_mirred.txt").values()
    assert kernel_wire.overlimits(full) == 15
    assert kernel_wire.overlimits(lossy) == 15


@pytest.mark.parametrize("shape", ["normal", "pareto", "paretonormal"])
def test_tc_reads_the_table_that_the_relay_uses(shape: str, tmp_path: Path) -> None:
    variation = parse_variation(f"2ms {shape}")
    file = tmp_path / "x.dist"
    file.write_text(netem.table_text(variation))
    assert tables.read_distribution(str(file)) == tuple(named_table(shape).tolist())
    assert netem.table_name(variation) == shape


def test_a_table_of_ones_own_is_named_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "mine.dist"
    file.write_text("-8192 0\n8192\n")
    variation = Variation(spread_ns=2 * MS, distribution="table", file=str(file))
    name = netem.table_name(variation)
    assert name.startswith("table-")
    assert netem.table_text(variation).splitlines()[2:] == ["-8192 0 8192"]
    file.write_text("-8192 1\n8192\n")
    assert netem.table_name(variation) != name
    # tc takes a path of at most 127 bytes (tc/q_netem.c, get_distribution).
    assert len(str(kernel_wire.TABLES / f"{name}.dist")) < 60


def test_the_uniform_table_is_uniform_within_the_spread() -> None:
    lines = netem.table_text(Variation(spread_ns=2 * MS)).splitlines()
    entries = np.array([int(word) for line in lines[2:] for word in line.split()])
    assert len(entries) == tables.DISTRIBUTION_SCALE
    assert (entries[0], entries[-1]) == (-8191, 8191)
    assert set(np.diff(entries).tolist()) == {2}


def test_tables_are_written_once_and_in_commands_sh_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_wire, "TABLES", tmp_path / "netem")
    tools = Toolbox()
    assert not kernel_wire.write_tables(tools, [way(delay_variation="2ms"), way()])
    assert kernel_wire.write_tables(tools, [EVERYTHING, EVERYTHING])
    text = (tmp_path / "netem" / "normal.dist").read_text()
    assert text == netem.table_text(Variation(spread_ns=MS, distribution="normal"))
    assert tools.script().count(text) == 1
