"""Rule: what the scenario sets in a node is in force there, recorded, and refused where it cannot
be; a server at its limit of descriptors is named.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from testbed import Load, Scenario, run, start
from testbed.errors import RequestError
from testbed.recording.layout import Layout
from testbed.scenario.nodes import NodeSettings
from tests.support.process_table import command_line, marked
from tests.support.runs import CLI, manifest_of

RMEM = "4096 16384 16384"
LIMIT = 64


def test_a_receive_buffer_by_sysctl_and_by_socket_option(tmp_path: Path) -> None:
    """The kernel doubles SO_RCVBUF; tcp_rmem is taken as it is (tcp(7))."""
    load = Load(requests=3, method="POST", body="50kB")
    base = {"topology": "single_bottleneck", "app": "upload", "load": load, "seed": 7}
    settings = NodeSettings(sysctls={"net.ipv4.tcp_rmem": RMEM})
    by_sysctl = Scenario(**base, nodes={"server": settings})  # type: ignore[arg-type]
    by_option = Scenario(**base, receive_buffer="10kB")  # type: ignore[arg-type]
    for number, (scenario, largest) in enumerate([(by_sysctl, 16384), (by_option, 20_000)]):
        recording = run(scenario, tmp_path / str(number))
        assert recording.http.completed == 3
        sockets = pl.read_parquet(Layout(recording.root).events("socket")).filter(
            (pl.col("node") == "server") & (pl.col("state") == "ESTABLISHED")
        )
        assert sockets["receive_buffer_bytes"].max() == largest
    [server] = [n for n in manifest_of(tmp_path / "0").nodes if n.name == "server"]
    assert server.sysctls["net.ipv4.tcp_rmem"] == RMEM
    script = (tmp_path / "0" / "commands.sh").read_text()
    assert "ip netns exec server sysctl -q -w" in script
    assert f"'net.ipv4.tcp_rmem={RMEM}'" in script


def test_what_cannot_be_set_is_refused_together(tmp_path: Path) -> None:
    settings = NodeSettings(
        sysctls={
            "net.ipv4.no_such_thing": 1,
            "net.core.rmem_max": 16384,
            "net.ipv4.ip_forward": 1,
            "net.ipv4.tcp_congestion_control": "reno",
            "net.ipv4.tcp_syn_retries": 1000,
        }
    )
    scenario = Scenario(topology="single_bottleneck", nodes={"server": settings})
    with pytest.raises(RequestError) as caught:
        run(scenario, tmp_path / "run")
    found = str(caught.value)
    assert found.startswith("5 problems")
    assert "net.ipv4.no_such_thing: this kernel has no such setting in a network name" in found
    # A kernel either does not show it in a namespace or does not let it be written.
    assert "sysctl net.core.rmem_max: " in found
    assert "net.ipv4.ip_forward: the testbed sets it by itself, to 0 in server" in found
    assert "net.ipv4.tcp_congestion_control: is set by the option congestion_control" in found
    assert 'net.ipv4.tcp_syn_retries: the kernel refuses "1000": Invalid argument' in found


def test_a_server_without_a_descriptor_for_the_next_connection(tmp_path: Path) -> None:
    """80 clients that each hold a connection for 1 s; about 50 fit below a limit of 64."""
    scenario = Scenario(
        topology="single_bottleneck",
        app="upload",
        nodes={"server": NodeSettings(descriptors=LIMIT)},
        load=Load(
            users=80, requests=160, method="POST", body="100B", path="/?pause=1s",
            new_connections=True,
        ),
        seed=7,
    )  # fmt: skip
    recording = run(scenario, tmp_path / "run")
    assert recording.http.requests == 160
    manifest = manifest_of(recording.root)
    about = {one.name: one.about for one in manifest.processes}
    assert about["server"]["descriptor_limit"] == LIMIT
    assert about["client"]["descriptor_limit"] != LIMIT
    calls = pl.read_parquet(Layout(recording.root).events("syscall")).filter(
        (pl.col("node") == "server") & (pl.col("call") == "accept")
    )
    failed = int((calls["error"] == "EMFILE").sum())
    log = (recording.root / "logs" / "server.stderr.log").read_text()
    assert failed == log.count("accept returned EMFILE (Too many open files)") > 0
    syscall = recording.summary.layers["syscall"]
    assert syscall.loss is not None
    assert syscall.loss["errors"]["EMFILE"] == failed
    # Never more connections at once than descriptors.
    sockets = pl.read_parquet(Layout(recording.root).events("asgi"))
    edges = [(at, 1) for at in sockets["started_ns"]] + [(at, -1) for at in sockets["ended_ns"]]
    open_now = most = 0
    for _, step in sorted(edges):
        open_now += step
        most = max(most, open_now)
    assert 1 < most < LIMIT
    pressure = recording.summary.backpressure
    assert pressure is not None
    assert pressure.origin is not None
    assert (pressure.origin.layer, pressure.origin.what) == ("syscall", "descriptors")
    assert pressure.sentence.startswith(
        f"pressure comes from the server's descriptors (limit {LIMIT}): accept() failed {failed} "
        'times with "Too many open files" and nobody was accepted '
    )


def test_many_nodes_need_no_higher_limit_of_who_starts_them(tmp_path: Path) -> None:
    """The sampler holds five descriptors for each of 20 nodes; servers and clients have what is
    usual."""
    usual = 90
    done = subprocess.run(
        [
            *("prlimit", f"--nofile={usual}:", *CLI, "run", "star", "--topology-option", "n=20"),
            *("--requests", "2", "--seed", "7", "--out", str(tmp_path / "run")),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # 5: the verdict on a busy machine.
    assert done.returncode in (0, 5), done.stderr
    ended = manifest_of(tmp_path / "run").processes
    limits = {one.about.get("descriptor_limit") for one in ended if one.kind in ("server", "load")}
    assert limits == {usual}


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no other user to become")
def test_servers_and_clients_are_not_the_same_user(mark: str, tmp_path: Path) -> None:
    """Neither can open what the other has open, such as the server's key."""
    users: dict[str, int] = {}
    scenario = Scenario(topology="single_bottleneck", load=Load(duration="3s", rate="5/s"))
    with start(scenario, tmp_path / "run") as run:
        deadline = time.monotonic() + 30
        while sum(map(bool, users.values())) < 2 and time.monotonic() < deadline:
            for process in marked(mark):
                words = command_line(process)
                for kind in ("testbed.server", "testbed.load"):
                    if kind in words:
                        users[kind] = user_of(process)
            time.sleep(0.05)
        run.wait()
    assert sorted(users) == ["testbed.load", "testbed.server"]
    assert 0 not in users.values()
    assert users["testbed.load"] != users["testbed.server"]


def user_of(process: int) -> int:
    """Its effective user, once it has given up being root (proc_pid_status(5))."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    (line,) = (one for one in status.splitlines() if one.startswith("Uid:"))
    return int(line.split()[2])
