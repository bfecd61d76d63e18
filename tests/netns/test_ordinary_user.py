"""Rule: an ordinary user, without sudo and without any group, runs everything that root runs.

Where root runs the tests, the user nobody stands for the ordinary user.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from testbed.recording.layout import Layout
from tests.support.pcapng import read_pcapng
from tests.support.people import as_ordinary_user, environment, home_of_ordinary_user
from tests.support.plugin import options_of_plugin
from tests.support.relay_log import numbers, read_relay_log
from tests.support.runs import manifest_of, run_argv

END_S = 120.0
"""A run takes 4 s on an idle machine."""


def run_as_user(argv: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        as_ordinary_user(argv),
        cwd=home,
        env=environment(HOME=str(home), TMPDIR=str(home)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=END_S,
    )


def test_a_run_is_complete_and_loses_what_the_seed_says(shared_root: Path) -> None:
    with home_of_ordinary_user() as home:
        done = run_as_user(run_argv(home / "out", 40), home)
        # 5: done, but on a busy machine, without real-time priority, too late to be trusted.
        assert done.returncode in (0, 5), done.stderr
        manifest = manifest_of(home / "out")
        assert (manifest.state, manifest.warnings) == ("complete", [])
        assert {process.exit_code for process in manifest.processes} == {0}
        if os.geteuid() == 0:
            owners = {path.stat().st_uid for path in (home / "out").rglob("*")}
            assert owners == {home.stat().st_uid}
        theirs = read_relay_log(Layout(home / "out").segment("link.r1-server"), "forward")
        captured = read_pcapng(Layout(home / "out").capture("server"))
    # The same fates as in the run of whoever runs the tests.
    ours = read_relay_log(Layout(shared_root).segment("link.r1-server"), "forward")
    both = min(len(ours), len(theirs))
    lost = [[n for n in numbers(log, "lost") if n < both] for log in (ours, theirs)]
    assert lost[0] == lost[1]
    sent_to_server = [f for f in captured.frames if f.source_mac == "02:00:00:00:02:01"]
    assert len(numbers(theirs, "delivered")) == len(sent_to_server)


def test_with_tls_the_server_gets_its_key() -> None:
    with home_of_ordinary_user() as home:
        done = run_as_user([*run_argv(home / "out", 20), "--tls", "--http", "2"], home)
        assert done.returncode in (0, 5), done.stderr
        requests = pl.read_parquet(Layout(home / "out").events("http"))
        assert requests["failure"].drop_nulls().to_list() == []
        assert requests["tls_ended_ns"].drop_nulls().len() == 1
        assert {process.exit_code for process in manifest_of(home / "out").processes} == {0}


def test_a_seed_decides_about_loss_for_a_user_in_another_project() -> None:
    # Ten lines in a folder that knows nothing of this checkout, through the pytest plugin.
    with home_of_ordinary_user() as home:
        (home / "myservice.py").write_text(
            "async def app(scope, receive, send):\n"
            '    await send({"type": "http.response.start", "status": 200, "headers": []})\n'
            '    await send({"type": "http.response.body", "body": b"mine"})\n'
        )
        (home / "test_myservice.py").write_text(
            "def test_survives_loss(testbed):\n"
            "    run = testbed.run(\n"
            '        "single_bottleneck", app="myservice:app", loss="2%", seed=7, requests=30\n'
            "    )\n"
            "    assert run.http.failed == 0\n"
            "    assert run.http.completed == 30\n"
        )
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        done = run_as_user([*argv, *options_of_plugin()], home)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout


def test_its_applications_have_no_privilege_at_all() -> None:
    with home_of_ordinary_user() as home:
        (home / "nosy.py").write_text(
            "import re\n"
            "status = open('/proc/self/status').read()\n"
            "found = re.findall(r'^(?:Cap(?:Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs):.*', status, re.M)\n"
            "raise RuntimeError(' '.join(' '.join(found).split()))\n"
        )
        done = run_as_user(run_argv(home / "out", 1, app="nosy:app"), home)
    none = "0000000000000000"
    assert (
        f"CapInh: {none} CapPrm: {none} CapEff: {none} CapBnd: {none} CapAmb: {none} NoNewPrivs: 1"
    ) in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_roots_applications_have_no_privilege_either(tmp_path: Path) -> None:
    (tmp_path / "nosy.py").write_text(
        "import os, re\n"
        "status = open('/proc/self/status').read()\n"
        "found = re.findall(r'^(?:Cap(?:Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs):.*', status, re.M)\n"
        "raise RuntimeError(f'uid {os.getresuid()} groups {os.getgroups()} '\n"
        "                   + ' '.join(' '.join(found).split()))\n"
    )
    done = subprocess.run(
        run_argv(tmp_path / "out", 1, app="nosy:app"),
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        timeout=END_S,
    )  # fmt: skip
    none = "0000000000000000"
    assert (
        "uid (65534, 65534, 65534) groups [] "
        f"CapInh: {none} CapPrm: {none} CapEff: {none} CapBnd: {none} CapAmb: {none} NoNewPrivs: 1"
    ) in done.stderr


def test_another_server_with_workers_and_settings_of_its_node() -> None:
    with home_of_ordinary_user() as home:
        options = {
            "server": "forking",
            "workers": "2",
            "nodes": "server: descriptors 64, net.ipv4.tcp_rmem 4096 16384 65536",
        }
        done = run_as_user(run_argv(home / "out", 40, **options), home)
        assert done.returncode in (0, 5), done.stderr
        manifest = manifest_of(home / "out")
        assert (manifest.state, manifest.warnings) == ("complete", [])
        assert {process.exit_code for process in manifest.processes} == {0}
        limits = {one.name: one.about.get("descriptor_limit") for one in manifest.processes}
        assert (limits["server.1"], limits["server.2"]) == (64, 64)
        [server] = [node for node in manifest.nodes if node.name == "server"]
        assert server.sysctls["net.ipv4.tcp_rmem"] == "4096 16384 65536"
