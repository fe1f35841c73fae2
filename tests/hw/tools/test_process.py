"""hw.tools.process: output, exit codes, the tool's own error, an end to waiting."""

import time

import pytest

from hw.tools.process import ToolError, first_error, run_python, run_tool


def test_lines_go_to_the_log_and_to_the_progress(tmp_path):
    seen = []
    code, lines = run_python(
        "Python",
        ["-c", "import sys; print('one'); print('two', file=sys.stderr)"],
        log=tmp_path / "logs" / "python.log",
        progress=seen.append,
    )
    assert code == 0
    assert sorted(lines) == ["one\n", "two\n"]
    assert sorted(seen) == ["one", "two"]
    assert (tmp_path / "logs" / "python.log").read_text() == "".join(lines)


def test_folder_and_environment(tmp_path):
    program = "import os; print(os.getcwd(), os.environ['NBQNN_TEST'])"
    options = {"folder": tmp_path, "environment": {"NBQNN_TEST": "here"}}
    assert run_python("Python", ["-c", program], **options) == (0, [f"{tmp_path} here\n"])


def test_a_failure_says_the_first_error_and_leaves_the_log(tmp_path):
    program = "print('begins'); print('ERROR: no such part'); print('ERROR: gives up'); exit(3)"
    with pytest.raises(ToolError, match=r"^mapper ended with code 3: ERROR: no such part$"):
        run_python("mapper", ["-c", program], log=tmp_path / "log")
    assert (tmp_path / "log").read_text().startswith("begins\n")


@pytest.mark.parametrize("allowed", [(0, 3), None])
def test_exit_codes_that_are_no_failure(allowed):
    assert run_python("Python", ["-c", "exit(3)"], allowed=allowed) == (3, [])


def test_a_tool_that_takes_too_long():
    begun = time.monotonic()
    with pytest.raises(ToolError, match=r"^sleeper must finish in 0\.5 s, and did not$"):
        run_tool("sleeper", ["sleep", "60"], time_limit_s=0.5)
    assert time.monotonic() - begun < 30


def test_the_first_error():
    assert first_error(["all is well\n", "an error here\n", "ERROR: there\n"]) == "ERROR: there"
    assert first_error(["one\n", "some error\n", "last\n"]) == "some error"
    assert first_error(["one\n", "last\n"]) == "last"
    assert first_error([]) == "no message"
