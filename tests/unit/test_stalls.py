"""Rule: a run whose uploads httpcore may stall says so before it starts; no other run does."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.load.stalls import stalls
from testbed.scenario import Load, Scenario

UPLOADS = {"users": 4, "method": "POST", "body": "100kB"}


@pytest.mark.parametrize(
    ("http", "load", "warned"),
    [
        ("2", UPLOADS, True),
        ("2", {**UPLOADS, "users": 1, "rate": "5/s"}, True),
        ("1.1", UPLOADS, False),
        ("2", {**UPLOADS, "users": 1}, False),
        ("2", {**UPLOADS, "new_connections": True}, False),
        ("2", {**UPLOADS, "body": "16kB"}, False),
        ("2", {"users": 4}, False),
    ],
)
def test_uploads_that_share_a_connection(http: Any, load: dict[str, Any], *, warned: bool) -> None:
    found = stalls(Scenario(topology="single_bottleneck", http=http, load=Load(**load)))
    assert (len(found) == 1) == warned
    assert all("--http 1.1" in text for text in found)


def test_httpx2_does_not_stall() -> None:
    load = Load(users=4, body="64kB", method="POST", client="httpx2")
    assert stalls(Scenario(topology="single_bottleneck", http="2", load=load)) == []
