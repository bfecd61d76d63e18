"""Rule: a run changes nothing outside of its own folder: no interface, no namespace, no sysctl, no
process.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from testbed import run
from testbed.recording.progress import LoadProgress, Progress
from tests.support import host
from tests.support.process_table import MARK, marked
from tests.support.runs import scenario


def test_before_while_and_after_a_run_the_machine_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = uuid.uuid4().hex
    monkeypatch.setenv(MARK, name)
    seen: list[tuple[host.Host, set[str]]] = []

    def look(event: Progress) -> None:
        if isinstance(event, LoadProgress) and not seen:
            processes = marked(name)
            # Sandbox (2), live, server, client, relay, sampler, three captures.
            assert len(processes) >= 10
            seen.append((host.look(), {network_namespace(process) for process in processes}))

    before = host.look()
    assert len(before.sysctls) > 500
    run(scenario(30), tmp_path / "out", look)
    after = host.look()

    ((during, namespaces),) = seen
    assert host.changes(before, during) == []
    assert host.changes(before, after) == []
    assert marked(name) == []
    # The sandbox's own and one for each of the three nodes: gone, for no process, no descriptor
    # and (see `host`) no mount holds one.
    private = namespaces - {network_namespace("self")}
    assert len(private) == 4
    assert namespaces_in_use() & private == set()


def network_namespace(process: int | str) -> str:
    """What names it: ``net:[4026531840]``."""
    return str(Path(f"/proc/{process}/ns/net").readlink())


def namespaces_in_use() -> set[str]:
    """Network namespaces of any process, or held by a descriptor of one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        for place in (path / "ns" / "net", *descriptors(path)):
            try:
                target = str(place.readlink())
            except OSError:
                continue
            if target.startswith("net:["):
                found.add(target)
    return found


def descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:  # another user's, or gone
        return []
