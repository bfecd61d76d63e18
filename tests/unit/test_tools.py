"""Rule: a tool that fails raises with its argument vector, exit code and standard error, and what
built the network can be repeated from `commands.sh`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from testbed.errors import EXIT_MACHINE_CANNOT, EXIT_RUN_FAILED, ToolError, ToolMissingError
from testbed.network.tools import Toolbox, find_tool


def commands(tools: Toolbox) -> list[str]:
    """The lines of the script after its head."""
    return tools.script().partition("set -e\n")[2].splitlines()


def test_standard_output_is_returned() -> None:
    assert Toolbox().run(["sh", "-c", "echo one; echo two >&2"]) == "one\n"


def test_standard_input_is_given() -> None:
    assert Toolbox().run(["cat"], stdin="a b\nc\n") == "a b\nc\n"


def test_a_failure_says_what_was_run_how_it_ended_and_what_it_said() -> None:
    argv = ["sh", "-c", "echo nothing to see; echo 'RTNETLINK answers: File exists' >&2; exit 2"]
    with pytest.raises(ToolError) as caught:
        Toolbox().run(argv)
    error = caught.value
    assert error.argv == tuple(argv)
    assert error.returncode == 2
    assert error.stderr == "RTNETLINK answers: File exists\n"
    assert str(error) == (
        f"`{' '.join(argv)}` ended with exit code 2: RTNETLINK answers: File exists"
    )
    assert error.exit_code == EXIT_RUN_FAILED


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param("echo to stdout; exit 3", "to stdout", id="tools that complain on stdout"),
        pytest.param("exit 3", "no message", id="tools that say nothing"),
    ],
)
def test_a_failure_without_standard_error(script: str, said: str) -> None:
    with pytest.raises(ToolError, match=f"ended with exit code 3: {said}$"):
        Toolbox().run(["sh", "-c", script])


def test_a_tool_that_a_signal_ended_has_a_negative_exit_code() -> None:
    with pytest.raises(ToolError) as caught:
        Toolbox().run(["sh", "-c", "kill -9 $$"])
    assert caught.value.returncode == -9


def test_a_missing_program_is_an_inability_of_the_machine() -> None:
    with pytest.raises(ToolMissingError, match='the program "no-such-tool" is not installed') as e:
        Toolbox().run(["no-such-tool", "--version"])
    assert e.value.where == "no-such-tool"
    assert e.value.exit_code == EXIT_MACHINE_CANNOT


def test_programs_in_sbin_are_found_without_it_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An ordinary user's PATH on Debian has no sbin, where tc and ethtool are.
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_tool("sysctl").endswith("/sysctl")


def test_what_ran_is_kept_in_order_and_a_read_back_is_not() -> None:
    tools = Toolbox()
    tools.run(["true", "first"])
    tools.run(["true", "a look"], remember=False)
    tools.remember(["ip", "netns", "add", "it's"])
    tools.batch(["true"], ["qdisc add one", "qdisc add two"])
    assert commands(tools) == [
        "true first",
        """ip netns add 'it'"'"'s'""",
        "true -batch - <<'END'",
        "qdisc add one",
        "qdisc add two",
        "END",
    ]


def test_an_empty_batch_runs_nothing() -> None:
    tools = Toolbox()
    tools.batch(["false"], [])
    assert commands(tools) == []


def test_a_batch_returns_what_it_printed_and_can_be_left_out() -> None:
    tools = Toolbox()
    assert tools.batch(["sh", "-c", "cat"], ["one"], remember=False) == "one\n"
    assert commands(tools) == []


def test_variables_are_given_and_kept_with_the_command() -> None:
    tools = Toolbox()
    argv = ["sh", "-c", "echo $TC_LIB_DIR"]
    assert tools.run(argv, env={"TC_LIB_DIR": "/run/my tables"}) == "/run/my tables\n"
    assert commands(tools) == ["TC_LIB_DIR='/run/my tables' sh -c 'echo $TC_LIB_DIR'"]


def test_a_file_that_a_tool_reads_is_written_by_the_script_too(tmp_path: Path) -> None:
    tools = Toolbox()
    file = tmp_path / "new folder" / "x.dist"
    for _ in range(2):
        tools.write_file(file, "# $HOME\n-1 2\n")
    assert file.read_text() == "# $HOME\n-1 2\n"
    file.unlink()
    file.parent.rmdir()
    script = tmp_path / "commands.sh"
    script.write_text(tools.script())
    subprocess.run(["sh", "-e", script], check=True)
    assert file.read_text() == "# $HOME\n-1 2\n"
    assert tools.script().count("cat >") == 1


def test_a_command_that_failed_is_kept_too() -> None:
    tools = Toolbox()
    with pytest.raises(ToolError):
        tools.run(["false"])
    assert commands(tools) == ["false"]


def test_the_script_gives_the_tools_the_same_arguments_and_input(tmp_path: Path) -> None:
    tools = Toolbox()
    awkward = "a b'c\"d $HOME `id` \\ *"
    tools.remember(["printf", "%s|", awkward, ""])
    tools.remember(["cat"], stdin="$HOME `id`\n\\t\n")
    script = tmp_path / "commands.sh"
    script.write_text(tools.script())
    sh = shutil.which("sh")
    assert sh is not None
    done = subprocess.run([sh, "-e", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{awkward}||$HOME `id`\n\\t\n"
