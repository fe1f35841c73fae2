"""A full disk, a kill at every step, two writers at once: files are whole, or as they were."""

import json
import os
import resource
import threading
from pathlib import Path

import pytest

from hw.boards.presets import PRESETS
from hw.contract.files import write_texts
from hw.contract.origin import rtl_digest
from hw.rtl.generate import generate
from nbqnn_train.graph import save
from scripts.cli import main
from tests.cli.networks import small_graph
from tests.cli.test_report import RESULTS
from tests.hw.synth.tops import top_verilog

#: Calls before which a process may be gone.
STEPS = ("open", "mkdir", "replace", "rename")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """What the commands need; elaboration is left out, which writes nothing."""
    monkeypatch.chdir(tmp_path)
    verilog = {name: top_verilog(("m_axi",), 32, bits) for name, bits in
               (("tiny", 32), ("digits", 40))}  # fmt: skip
    monkeypatch.setattr("hw.rtl.generate.accelerator_verilog", lambda config: verilog[config.name])
    for name in ("tiny", "digits"):
        generate(PRESETS[name], Path(f"build-{name}"))
    save(small_graph(), Path("graph"))
    Path("out").mkdir()
    for name, content in RESULTS.items():
        folder = Path("results" if "explore" not in str(content.get("kind")) else "more")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return tmp_path


#: Name -> the command for what was there before, and the one that is disturbed.
COMMANDS = {
    "generate": [["generate", "--preset", name, "-o", "out"] for name in ("digits", "tiny")],
    "compile": [
        ["compile", "graph", "--hw", f"build-{name}", "-o", "out/program", "--json", "out/j.json"]
        for name in ("digits", "tiny")
    ],
    "report": [["report", folder, "-o", "out/page.html"] for folder in ("more", "results")],
}


def visible(folder="out") -> dict[str, bytes]:
    """Whole files under their names; what is being written has a name with a dot in front."""
    return {
        str(path): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


def run(command) -> int:
    return main(command)


def before_and_after(name):
    """Files as the first command leaves them, and as the second does then."""
    first, second = COMMANDS[name]
    assert run(second) == 0
    new = visible()
    for path in new:
        Path(path).unlink()
    assert run(first) == 0
    return visible(), new, second


def check(old, new):
    """Every file is one of the two, and none is missing that was there."""
    now = visible()
    assert old.keys() <= now.keys() <= old.keys() | new.keys()
    for path, content in now.items():
        assert content in (old.get(path), new.get(path)), path


@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_every_step(place, name):
    """In a process of its own, which is gone before its n-th step, without cleaning up."""
    old, new, command = before_and_after(name)
    assert old != new
    for step in range(400):
        for path, content in old.items():
            Path(path).write_bytes(content)
        for path in visible().keys() - old.keys():
            Path(path).unlink()
        child = os.fork()
        if child == 0:
            os._exit(_until(step, command))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        check(old, new)
        if status != 9:
            assert status == 0
            break
    assert visible() == old | new
    assert step > 2


def _until(step: int, command: list[str]) -> int:
    """Exit code of the command, 9 if it came to that step. (In the child.)"""
    left = [step]

    def stop(function):
        def counted(*arguments, **options):
            if any("out" in str(one) for one in arguments[:2]):
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
            return function(*arguments, **options)

        return counted

    for name in STEPS:
        setattr(os, name, stop(getattr(os, name)))
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    return main(command)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(place, name, capsys):
    """Files cannot grow beyond a size: one line, code 2, and no file is half there."""
    old, new, command = before_and_after(name)
    most = max(len(content) for content in new.values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 1, 100, most // 2, most - 1):
        capsys.readouterr()
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            code = run(command)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        error = capsys.readouterr().err
        assert code == 2, (size, error)
        assert error.startswith("nbqnn: error: ")
        assert error.count("\n") == 1
        check(old, new)
        # Nothing is left beside them either.
        assert not list(Path("out").rglob(".*"))
    assert run(command) == 0
    assert visible() == old | new


def test_a_build_is_all_or_nothing_on_a_full_disk(place):
    """Its files belong together: if one cannot be written, none is changed."""
    old, _, command = before_and_after("generate")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        assert run(command) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert visible() == old


def test_two_writers_of_one_folder(tmp_path):
    """What belongs together is of one of them."""
    texts = [{name: f"{writer}{name}" * 1000 for name in ("a/v", "b", "c")} for writer in range(4)]
    for _ in range(20):
        writers = [threading.Thread(target=write_texts, args=(tmp_path, one)) for one in texts]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        found = {name: (tmp_path / name).read_text() for name in texts[0]}
        assert found in texts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_build_that_was_not_finished_is_seen(place):
    """A kill between two files of a build: the digest in its configuration tells."""
    run(COMMANDS["generate"][0])
    Path("out/rtl/nbqnn.v").write_text("module nbqnn();\nendmodule\n")
    assert rtl_digest("module nbqnn();\nendmodule\n") not in Path("out/hw.json").read_text()
    assert run(["synth", "out", "--tool", "yosys"]) == 2
