"""What a run must leave as it was: interfaces, namespaces that have a name, sysctls."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

from testbed.network.tools import find_tool

_CHANGE_BY_THEMSELVES: Final = re.compile(
    r"fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr|quota\.)"  # counters
    r"|kernel\.(random\.|ns_last_pid|pty\.nr|perf_event_max_sample_rate)"  # counters, self-tuned
    r"|net\.netfilter\.nf_conntrack_(count|buckets)"
    r"|user\.|vm\.(stat_refresh|compact_memory)"
)
"""Counters, random numbers, and what the kernel tunes while it runs."""


class Host(NamedTuple):
    """The machine as anybody can see it."""

    interfaces: list[tuple[str, str, str]]
    """Name, MAC address and flags of each."""
    named_namespaces: list[str]
    """In /run/netns, and wherever else one is held by a mount."""
    sysctls: dict[str, str]


def look() -> Host:
    """The machine now."""
    links: list[dict[str, Any]] = json.loads(_output("ip", "-j", "link"))
    named = Path("/run/netns")
    held = [
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        if " - nsfs " in line
    ]
    sysctls = dict(
        line.partition(" = ")[::2]
        for line in _output("sysctl", "-a").splitlines()
        if not _CHANGE_BY_THEMSELVES.match(line)
    )
    return Host(
        interfaces=[
            (link["ifname"], link.get("address", ""), ",".join(link["flags"])) for link in links
        ],
        named_namespaces=sorted(
            [*held, *(path.name for path in named.iterdir())] if named.is_dir() else held
        ),
        sysctls={name: value for name, value in sysctls.items() if value},
    )


def changes(before: Host, after: Host) -> list[str]:
    """What is not as it was, in words; empty is what a test wants to see."""
    found = [
        f"{name}: {old} -> {new}"
        for name, old, new in zip(
            ("interfaces", "named namespaces"), before[:2], after[:2], strict=True
        )
        if old != new
    ]
    for name in sorted({*before.sysctls, *after.sysctls}):
        old_value, new_value = before.sysctls.get(name), after.sysctls.get(name)
        if old_value != new_value:
            found.append(f"{name}: {old_value} -> {new_value}")
    return found


def _output(*argv: str) -> str:
    # sysctl ends with an error where this user may not read a value; what it can read is printed.
    done = subprocess.run(
        [find_tool(argv[0]), *argv[1:]], capture_output=True, text=True, check=False
    )
    return done.stdout
