"""Rule: what can be read is found whatever the number of its descriptor, and an end counts."""

from __future__ import annotations

import fcntl
import os
import resource

import pytest

from testbed.live.waiting import readable

BEYOND_SELECT = 1024
"""FD_SETSIZE: select(2) takes no descriptor from here on."""


@pytest.fixture
def high() -> int:
    """The least number that select(2) does not take, where this process may have it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= BEYOND_SELECT + 1:
        pytest.skip(f"the limit on descriptors here is {hard}")
    return BEYOND_SELECT


def test_a_high_descriptor_is_waited_for(high: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    read, write = os.pipe()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], high + 2), before[1]))
        moved = fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, high)
        assert moved >= high
        assert readable([moved], 0) == []
        os.write(write, b"x")
        assert readable([read, moved], 10) == [read, moved]
        os.close(moved)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(read)
        os.close(write)


def test_the_other_end_that_closes_is_news() -> None:
    read, write = os.pipe()
    assert readable([read], 0.001) == []
    os.close(write)
    assert readable([read], 10) == [read]
    os.close(read)


def test_no_time_left_is_no_error() -> None:
    assert readable([], -1.0) == []
