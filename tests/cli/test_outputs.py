"""Where commands write: never over what they read, refused before the work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbqnn_train.graph import load, save
from nbqnn_train.graph.files import write_file
from nbqnn_train.qonnx import export_qonnx
from tests.cli.networks import small_graph


@pytest.fixture
def graph(tmp_path):
    save(small_graph(), tmp_path / "graph")
    return tmp_path / "graph"


@pytest.mark.parametrize("place", ["model.onnx", "./model.onnx", "link"])
def test_the_input_is_not_written_over(refused, tmp_path, place):
    export_qonnx(small_graph(), tmp_path / "model.onnx")
    (tmp_path / "link").symlink_to("model.onnx")
    message = "file 'model.onnx' must not be written over: it is read"
    refused(message, "import", "model.onnx", "-o", place)


def test_neither_is_a_users_code(refused, tmp_path):
    (tmp_path / "net.py").write_text("def build():\n    raise AssertionError\n")
    message = "file 'net.py' must not be written over: it is read"
    refused(message, "check", "--model", "net.py:build", "--shape", "1,8,8", "--json", "net.py")


def test_two_results_are_two_files(refused, tmp_path):
    export_qonnx(small_graph(), tmp_path / "model.onnx")
    message = "file 'a' must be given for one result, not for two"
    refused(message, "import", "model.onnx", "-o", "a", "--json", "./a")


@pytest.mark.parametrize("command", [["generate", "--preset", "tiny"], ["explore", "graph"]])
def test_a_folder_below_a_file_is_refused_before_the_work(refused, graph, tmp_path, command):
    more = ["--board", "zcu102"] if command[0] == "explore" else []
    message = f"folder 'graph/build' cannot be written: '{tmp_path}/graph' is a file"
    refused(message, *command, *more, "-o", "graph/build")


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("file", ["inspect", "graph", "--json", "locked/out"]),
        ("folder", ["generate", "--preset", "tiny", "-o", "locked/out"]),
    ],
)
def test_a_read_only_folder_is_refused_before_the_work(
    refused, graph, tmp_path, monkeypatch, what, command
):
    (tmp_path / "locked").mkdir()
    access = os.access  # all folders are open to root, who runs tests in containers
    monkeypatch.setattr(os, "access", lambda at, kind: "locked" not in str(at) and access(at, kind))
    refused(rf"{what} 'locked/out' cannot be written: '.*locked' is read-only", *command)


def test_the_home_folder_is_where_the_user_says(nbqnn, graph, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert nbqnn("inspect", "graph", "--json=~/result.json").code == 0
    assert (tmp_path / "home" / "result.json").is_file()
    assert not (tmp_path / "~").exists()


def test_a_link_stays_and_what_it_leads_to_is_replaced(nbqnn, tmp_path):
    export_qonnx(small_graph(), tmp_path / "model.onnx")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/graph")
    assert nbqnn("import", "model.onnx", "-o", "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "elsewhere" / "graph").outputs == small_graph().outputs


def test_a_pipe_stays_one(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        write_file(pipe, b"result")
        assert reader.stdout.read() == b"result"
    assert pipe.is_fifo()


@pytest.mark.parametrize("redirected", [False, True])
def test_results_on_standard_output(graph, tmp_path, redirected):
    """``/dev/stdout`` may be a pipe or a file; neither is replaced."""
    call = [sys.executable, "-m", "scripts.cli", "inspect", str(graph), "--json", "/dev/stdout"]
    before = Path("/dev/stdout").readlink()
    root = Path(__file__).parents[2]
    with (tmp_path / "said").open("wb") as file:
        stream = file if redirected else subprocess.PIPE
        ended = subprocess.run(call, cwd=root, stdout=stream, check=True)
    said = (tmp_path / "said").read_text() if redirected else ended.stdout.decode()
    assert json.JSONDecoder().raw_decode(said[said.index("{\n") :])[0]["images"] == 0
    assert Path("/dev/stdout").readlink() == before


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["generate", "--preset", "tiny", "-o", ""], " of -o"),
        (["generate", "--preset", "tiny", "--out="], " of --out"),
        (["inspect", ""], ""),
    ],
)
def test_empty_arguments(refused, tmp_path, command, what):
    """As of a variable that is not set: not this folder."""
    refused(f"the argument{what} must not be empty", *command)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_nowhere(refused, tmp_path):
    (tmp_path / "build").symlink_to("gone")
    message = "folder 'build' cannot be written: 'build' is a link that leads nowhere"
    refused(message, "generate", "--preset", "tiny", "-o", "build")


def nbqnn(*arguments, **options):
    command = [sys.executable, "-m", "scripts.cli", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, **options)


def test_a_reader_that_has_left(graph):
    """Code 1 would say that the result is bad."""
    reader, writer = os.pipe()
    os.close(reader)
    done = nbqnn("inspect", graph, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_no_space_for_the_output(graph):
    with Path("/dev/full").open("w") as full:
        done = nbqnn("inspect", graph, stdout=full)
    assert done.returncode == 2
    assert done.stderr == "nbqnn: error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("name", ["größe", "\udcff"])
def test_names_that_the_terminal_cannot_show(graph, name):
    """Are written in another way."""
    folder = graph.with_name(name)
    folder.mkdir()
    graph.rename(folder / "graph")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    refused = nbqnn("inspect", folder / "gone", stdout=subprocess.PIPE, env=environment)
    assert refused.returncode == 2
    assert refused.stderr.startswith("nbqnn: error: ")
    build = ("generate", "--preset", "tiny", "-o", folder / "build")
    done = nbqnn(*build, stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "build in " in done.stdout


@pytest.mark.parametrize("place", ["-", "/dev/stdout"])
def test_a_result_on_standard_output_stands_alone(graph, place):
    """So that another program can read it; what is for people goes to standard error."""
    done = nbqnn("inspect", "graph", "--json", place, stdout=subprocess.PIPE, cwd=graph.parent)
    assert done.returncode == 0
    assert json.loads(done.stdout)["kind"] == "inspect"
    assert "conv" in done.stderr
    assert not (graph.parent / "-").exists()
    plain = nbqnn("inspect", "graph", stdout=subprocess.PIPE, cwd=graph.parent)
    assert (plain.stdout, plain.stderr) == (done.stderr, "")
