"""Rule: the fixture `testbed` runs a network experiment within any project's tests, keeps the
recording of a test that failed and says where, and costs who does not ask for it nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.people import environment
from tests.support.plugin import options_of_plugin
from tests.support.runs import manifest_of

pytest_plugins = ["pytester"]

SERVICE = """\
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"mine"})
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Another project's folder, with a service in it."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    pytester.makepyfile(myservice=SERVICE)
    return pytester


def run_tests(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_subprocess(*options_of_plugin(), "-p", "no:cacheprovider", *options)


def test_a_test_that_passes_leaves_nothing_behind(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        def test_survives_loss(testbed):
            run = testbed.run(
                "single_bottleneck", app="myservice:app", loss="2%", seed=7, requests=13
            )
            assert run.http.requests == 13
            assert run.http.failed == 0
            assert run.verdict.status in ("faithful", "degraded", "invalid")
            assert run.root == testbed.recordings[0]
        """
    )
    result = run_tests(project)
    result.assert_outcomes(passed=1)
    assert not (project.path / "testbed-failed").exists()
    assert not (project.path / "runs").exists()


def test_what_is_raised_for_a_wrong_option_and_a_wrong_application(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_it="""
        import pytest
        from testbed.errors import RequestError, ScenarioError

        def test_option(testbed):
            with pytest.raises(ScenarioError, match="connect_timeout=: must be greater than 0"):
                testbed.run("single_bottleneck", app="myservice:app", connect_timeout="0s")

        @pytest.mark.parametrize("app", ["nothing:app", "myservice:nope"])
        def test_application(testbed, app):
            with pytest.raises(RequestError, match="there is no module|has no attribute"):
                testbed.run("single_bottleneck", app=app, requests=1)
        """
    )
    run_tests(project).assert_outcomes(passed=3)


def test_a_test_that_fails_keeps_its_recordings_and_says_where(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.parametrize("size", ["a/b"])
        def test_fails(testbed, size):
            for seed in (1, 2):
                testbed.run("single_bottleneck", app="myservice:app", seed=seed, requests=5,
                            probes="none")
            assert False, "the application did not survive"
        """
    )
    result = run_tests(project)
    result.assert_outcomes(failed=1)
    kept = sorted((project.path / "testbed-failed").iterdir())
    assert [path.name for path in kept] == [
        "test_it.py-test_fails-a-b-run1",
        "test_it.py-test_fails-a-b-run2",
    ]
    assert [manifest_of(path).seed for path in kept] == [1, 2]
    assert manifest_of(kept[0]).command == ["pytest", "test_it.py::test_fails[a/b]"]
    for path in kept:
        result.stdout.fnmatch_lines([str(path), str(path / "report.html")])


def test_the_folder_for_them_can_be_chosen_and_names_do_not_collide(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_it="""
        def test_fails(testbed):
            testbed.run("single_bottleneck", app="myservice:app", requests=2, probes="none")
            assert False
        """
    )
    (project.path / "artifacts" / "test_it.py-test_fails-run1").mkdir(parents=True)
    run_tests(project, "--testbed-keep", "artifacts").assert_outcomes(failed=1)
    assert sorted(path.name for path in (project.path / "artifacts").iterdir()) == [
        "test_it.py-test_fails-run1",
        "test_it.py-test_fails-run1.2",
    ]


def test_a_run_that_failed_keeps_what_it_recorded(project: pytest.Pytester) -> None:
    project.makepyfile(broken="raise OSError('no database')\n")
    project.makepyfile(
        test_it="""
        def test_fails(testbed):
            testbed.run("single_bottleneck", app="broken:app", requests=2)
        """
    )
    result = run_tests(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*OSError: no database*"])
    (kept,) = (project.path / "testbed-failed").iterdir()
    assert manifest_of(kept).state == "failed"


def test_a_wrong_option_fails_the_test_with_what_is_accepted(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_it="""
        def test_typo(testbed):
            testbed.run("single_bottleneck", los="2%")
        """
    )
    result = run_tests(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(['*did you mean "loss"?*'])
    assert not (project.path / "testbed-failed").exists()


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        pytest.param((), "failed", id="fails, so that a CI that tests nothing is not green"),
        pytest.param(("--testbed-skip",), "skipped", id="is skipped when asked for"),
    ],
)
def test_on_a_machine_that_cannot_do_it_a_test(
    project: pytest.Pytester, options: tuple[str, ...], outcome: str
) -> None:
    # A congestion control that no kernel has is an ability that this machine lacks.
    project.makepyfile(
        test_it="""
        def test_it(testbed):
            testbed.run("single_bottleneck", congestion_control="no_such_cc", requests=1)
        """
    )
    result = run_tests(project, "-rs", *options)
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*no_such_cc*"])


HEAVY = ("polars", "numpy", "trio", "httpx", "mininet", "plotly", "jinja2")


def test_a_project_that_does_not_ask_for_it_imports_nothing_heavy(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Alone: other plugins of this environment (anyio, hypothesis) import what they like.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    project.makepyfile(
        test_it="""
        import json, pathlib, sys

        def test_nothing_of_the_testbed_is_needed():
            pathlib.Path("modules.json").write_text(json.dumps(sorted(sys.modules)))
        """
    )
    project.runpytest_subprocess("-p", "testbed.pytest_plugin").assert_outcomes(passed=1)
    modules = json.loads(Path(project.path / "modules.json").read_text(encoding="utf-8"))
    assert "testbed.pytest_plugin" in modules
    assert [name for name in HEAVY if name in modules] == []
    assert [m for m in modules if m.startswith(("testbed.analysis", "testbed.report"))] == []
