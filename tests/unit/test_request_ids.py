"""W3C Trace Context, section 3.2: what is sent, and what is accepted."""

from __future__ import annotations

import re

import pytest

from testbed.load.identity import identity
from testbed.probes.asgi import request_id_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_ids_have_the_form_of_a_traceparent() -> None:
    ids = identity(seed=7, process="client", number=0)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", ids.traceparent)
    assert ids.traceparent == f"00-{ids.trace_id}-{ids.span_id}-01"


def test_ids_never_change_between_versions() -> None:
    # Written down once: recordings of the same seed stay comparable.
    ids = identity(seed=7, process="client", number=0)
    assert ids.trace_id == "3e35831c1afb7826840aef23e14b6454"


def test_ids_differ_by_seed_process_and_number() -> None:
    made = {
        identity(seed=seed, process=process, number=number).trace_id
        for seed in (1, 2)
        for process in ("c1", "c2")
        for number in range(1000)
    }
    assert len(made) == 4000


def test_what_is_sent_is_accepted() -> None:
    ids = identity(seed=7, process="client", number=23)
    assert request_id_of([(b"traceparent", ids.traceparent.encode())]) == ids.trace_id


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"00-{TRACE}-{PARENT}-01", id="sampled"),
        pytest.param(f"00-{TRACE}-{PARENT}-00", id="not sampled"),
        pytest.param(f" 00-{TRACE}-{PARENT}-01\t", id="white space around"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01", id="later version"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01-more", id="later version, more fields"),
    ],
)
def test_valid(value: str) -> None:
    assert request_id_of([(b"Traceparent", value.encode())]) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param(f"ff-{TRACE}-{PARENT}-01", id="version ff"),
        pytest.param(f"00-{TRACE}-{PARENT}-01-more", id="more fields in version 00"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01.more", id="more, but no field"),
        pytest.param(f"00-{TRACE.upper()}-{PARENT}-01", id="upper case"),
        pytest.param(f"00-{TRACE[:-1]}-{PARENT}-01", id="short trace-id"),
        pytest.param(f"00-{TRACE}0-{PARENT}-01", id="long trace-id"),
        pytest.param(f"00-{TRACE}-{PARENT}0-01", id="long parent-id"),
        pytest.param(f"00-{'0' * 32}-{PARENT}-01", id="zero trace-id"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="zero parent-id"),
        pytest.param(f"00-{TRACE}-{PARENT}-1", id="short flags"),
        pytest.param(f"00-{TRACE}-{PARENT}-01\n", id="line feed"),
        pytest.param(f"00-{TRACE}-{PARENT}", id="no flags"),
    ],
)
def test_invalid(value: str) -> None:
    assert request_id_of([(b"traceparent", value.encode())]) is None


def test_no_header_or_two_of_them() -> None:
    header = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
    assert request_id_of([(b"host", b"server")]) is None
    assert request_id_of([header, header]) is None
