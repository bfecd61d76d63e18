"""Duplicated, corrupted and reordered packets, matched from end to end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.matching import NONE, End, Log, first_of, match_wire


def keys(*numbers: int) -> npt.NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


def end(*numbers: int, sizes: tuple[int, ...] = ()) -> End:
    size = np.array(sizes or [100] * len(numbers), np.uint32)
    return End(np.arange(len(numbers), dtype=np.int64), size, keys(*numbers))


def log(*records: tuple[int, int, int, str, int]) -> Log:
    """Of (number, key, key as sent, fate and flags as letters, place)."""
    number, key, sent, what, place = zip(*records, strict=True)
    return Log(
        keys=keys(*key),
        sent_keys=keys(*sent),
        delivered=np.array(["d" in one for one in what]),
        copy=np.array(["c" in one for one in what]),
        corrupted=np.array(["x" in one for one in what]),
        place=np.array(place, np.int64),
        number=np.array(number, np.int64),
    )


def test_a_copy_belongs_to_its_packet() -> None:
    known = log((0, 5, 5, "d", 0), (0, 5, 5, "dc", 1), (1, 6, 6, "", 2), (2, 7, 7, "d", 3))
    wire = match_wire(end(5, 6, 7), end(5, 5, 7), known)
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [0, NONE, 2]
    assert wire.origin is not None
    assert wire.origin.tolist() == [0, 0, 2]
    assert wire.copy is not None
    assert wire.copy.tolist() == [False, True, False]
    assert wire.copied is not None
    assert wire.copied.tolist() == [0]
    assert (wire.strangers, wire.by_log) == (0, True)


def test_a_corrupted_packet_is_known_by_what_it_left_as() -> None:
    known = log((0, 5, 5, "d", 0), (1, 6, 99, "dx", 1), (1, 6, 99, "dcx", 2))
    wire = match_wire(end(5, 6), end(5, 99, 99), known)
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [0, 1]
    assert wire.corrupted is not None
    assert wire.corrupted.tolist() == [False, True, True]
    assert wire.copy is not None
    assert wire.copy.tolist() == [False, False, True]


def test_a_copy_stands_in_for_a_packet_that_the_relay_could_not_write() -> None:
    known = log((0, 5, 5, "", 0), (0, 5, 5, "dc", 1))
    wire = match_wire(end(5), end(5), known)
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [0]
    assert wire.copy is not None
    assert wire.copy.tolist() == [False]


def test_without_a_log_what_came_twice_is_a_copy() -> None:
    wire = match_wire(end(1, 2, 3), end(1, 2, 2, 3))
    assert wire.copy is not None
    assert wire.copy.tolist() == [False, False, True, False]
    assert wire.origin is not None
    assert wire.origin.tolist() == [0, 1, 1, 2]
    assert wire.copied is not None
    assert wire.copied.tolist() == [1]
    assert not wire.by_log


def test_without_a_log_what_nobody_sent_is_the_one_that_is_missing_there() -> None:
    sizes = (100, 200, 100, 100)
    came = end(1, 99, 4, sizes=(100, 200, 100))
    wire = match_wire(end(1, 2, 3, 4, sizes=sizes), came)
    assert wire.corrupted is not None
    assert wire.corrupted.tolist() == [False, True, False]
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [0, 1, NONE, 2]
    assert wire.strangers == 0


def test_without_a_log_nothing_is_guessed_between_two_that_are_missing() -> None:
    wire = match_wire(end(1, 2, 3, 4), end(1, 99, 4))
    assert wire.corrupted is not None
    assert wire.corrupted.tolist() == [False, True, False]
    assert wire.to_receiver is not None
    assert wire.to_receiver.tolist() == [0, NONE, NONE, 2]
    assert wire.strangers == 1


@given(st.lists(st.integers(0, 9)), st.lists(st.integers(0, 9)))
def test_first_of_against_a_search(there: list[int], wanted: list[int]) -> None:
    expected = [there.index(one) if one in there else NONE for one in wanted]
    assert first_of(keys(*there), keys(*wanted)).tolist() == expected


@st.composite
def wires(draw: st.DrawFn) -> tuple[list[str], list[int]]:
    """What becomes of each of some packets, and an order of departure of all that depart."""
    fates = draw(st.lists(st.sampled_from(["d", "dx", "dd", "ddx", ""]), max_size=12))
    leaving = sum(fate.count("d") for fate in fates)
    return fates, draw(st.permutations(range(leaving)))


@given(wires())
def test_with_a_log_every_packet_is_accounted_for(given_: tuple[list[str], list[int]]) -> None:
    """Any loss, duplication, corruption and order, with equal packets among them."""
    fates, places = given_
    records: list[tuple[int, int, int, str, int]] = []
    left: dict[int, tuple[int, int]] = {}
    waiting = list(places)
    for number, fate in enumerate(fates):
        key = number % 5  # equal packets occur
        sent = 100 + number if "x" in fate else key
        for place in range(max(1, fate.count("d"))):
            flags = fate.replace("dd", "d") + "c" * place
            when = sorted(waiting[: fate.count("d")])[place] if "d" in fate else 0
            records.append((number, key, sent, flags, when))
            if "d" in fate:
                left[when] = (sent, number)
        del waiting[: fate.count("d")]
    if not records:
        return
    came = [left[when] for when in sorted(left)]
    wire = match_wire(
        end(*(n % 5 for n in range(len(fates)))), end(*(k for k, _ in came)), log(*records)
    )
    assert wire.copy is not None
    assert wire.corrupted is not None
    assert wire.lost is not None
    assert wire.origin is not None
    assert wire.origin.tolist() == [number for _, number in came]
    assert wire.lost.tolist() == ["d" not in fate for fate in fates]
    assert wire.copy.sum() == sum("dd" in fate for fate in fates)
    assert wire.corrupted.sum() == sum(fate.count("d") for fate in fates if "x" in fate)
    assert wire.strangers == 0
