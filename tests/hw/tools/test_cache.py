"""hw.tools.cache: built once, complete or not there, one builder at a time."""

import os
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from hw.tools.cache import (
    cache_folder,
    cache_limit,
    cached_folder,
    cached_json,
    keep_only,
    prune,
)
from nbqnn_train.graph import NbqnnError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NBQNN_CACHE", str(tmp_path / "cache"))


def test_where_it_is(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("NBQNN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "nbqnn"


def test_built_once_for_equal_parts():
    built = []

    def build(folder):
        built.append(folder)
        (folder / "file").write_text("content")

    first = cached_folder("kind", ("ab", b"c"), build)
    assert cached_folder("kind", ("ab", b"c"), build) == first
    assert (first / "file").read_text() == "content"
    assert first.name.startswith("kind-")
    assert len(built) == 1
    others = {cached_folder("kind", parts, build) for parts in (("a", "bc"), ("ab",), ())}
    assert len(others | {first}) == 4


def test_nothing_is_left_of_a_failed_build():
    def build(folder):
        (folder / "file").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_folder("kind", ("part",), build)
    assert not [path for path in cache_folder().iterdir() if path.is_dir()]
    assert cached_folder("kind", ("part",), lambda folder: None).is_dir()


def test_processes_wait_for_each_other(tmp_path):
    """Of four at the same time, one builds, all get the result."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hw.tools.cache import cached_folder\n"
        "def build(folder):\n"
        "    with open(sys.argv[1], 'a') as log: log.write('built\\n')\n"
        "    time.sleep(0.3)\n"
        "    (folder / 'file').write_text('done')\n"
        "print((cached_folder('kind', ('slow',), build) / 'file').read_text())\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-c", code, str(log)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["done\n"] * 4
    assert log.read_text() == "built\n"


def filled(name: str, age_s: float, size: int = 1000):
    """A cached folder that was used so long ago."""
    folder = cached_folder(name, (), lambda folder: (folder / "file").write_bytes(bytes(size)))
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def test_what_was_used_longest_ago_goes_first():
    ages = {"a": 300, "b": 200, "c": 400, "d": 1}
    folders = {name: filled(name, age) for name, age in ages.items()}
    assert prune(4000, in_use_s=100) == []
    assert prune(2500, in_use_s=100) == [folders["c"], folders["a"]]
    # The last one may be in use.
    assert prune(0, in_use_s=100) == [folders["b"]]
    assert [path for path in cache_folder().iterdir() if path.is_dir()] == [folders["d"]]


def test_use_counts_not_age():
    old, new = filled("old", 300), filled("new", 200)
    assert cached_folder("old", (), lambda folder: None) == old
    os.utime(old, (time.time() - 150,) * 2)
    assert prune(1000, in_use_s=100) == [new]


def test_builds_prune(monkeypatch):
    monkeypatch.setenv("NBQNN_CACHE_GB", "0.000002")
    old = filled("old", 24 * 3600)
    unfinished = cache_folder() / ".kind-1234.killed"
    unfinished.mkdir()
    (unfinished / "file").write_bytes(bytes(1000))
    os.utime(unfinished, (time.time() - 48 * 3600,) * 2)
    first = filled("first", 0)
    # 3,000 bytes of at most 2,000: what was left of a build goes.
    assert (unfinished.exists(), old.exists(), first.exists()) == (False, True, True)
    filled("second", 0)
    assert not old.exists()
    assert filled("old", 0).is_dir()


def test_what_is_being_built_again_stays():
    folder = filled("kind", 300)
    with FileLock(cache_folder() / f".{folder.name}.lock"):
        assert prune(0, in_use_s=100) == []
    assert prune(0, in_use_s=100) == [folder]


@pytest.mark.parametrize("text", ["many", "-1", "nan", "inf"])
def test_a_limit_that_is_none(monkeypatch, text):
    monkeypatch.setenv("NBQNN_CACHE_GB", text)
    with pytest.raises(NbqnnError, match=r"^NBQNN_CACHE_GB must be a number of gigabytes, not "):
        cache_limit()


def test_pruning_and_using_at_the_same_time():
    """Whoever asks for a folder gets it complete, whatever others remove meanwhile."""
    code = (
        "import sys\n"
        "from hw.tools.cache import cached_folder, prune\n"
        "build = lambda folder: (folder / 'file').write_text('done')\n"
        "for turn in range(60):\n"
        "    kind = f'kind{(turn * int(sys.argv[1])) % 5}'\n"
        "    assert cached_folder(kind, (), build).name.startswith(kind)\n"
        "    prune(8, in_use_s=0)\n"
    )
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen([*command, str(n)], stderr=subprocess.PIPE) for n in (1, 2, 3)]
    for process in processes:
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    left = [path for path in cache_folder().iterdir() if path.is_dir()]
    assert all((path / "file").read_text() == "done" for path in left)


def test_keep_only(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    keep_only(tmp_path, "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_json_is_made_once_and_again_when_damaged():
    made = []

    def make():
        made.append(len(made))
        return {"number": len(made)}

    assert cached_json("found", ("a",), make) == {"number": 1}
    assert cached_json("found", ("a",), make) == {"number": 1}
    (folder,) = (path for path in cache_folder().iterdir() if path.is_dir())
    (folder / "result.json").write_text('{"num')
    assert cached_json("found", ("a",), make) == {"number": 2}
    assert len(made) == 2


@pytest.mark.parametrize("error", [PermissionError(1, "no"), OSError(30, "Read-only")])
def test_somebody_elses_cache_can_be_read(monkeypatch, error):
    """The time of its last use stays as it is."""
    there = cached_folder("kind", ["a"], lambda folder: (folder / "file").write_text("1"))

    def refuse(*_):
        raise error

    monkeypatch.setattr(os, "utime", refuse)
    assert cached_folder("kind", ["a"], lambda folder: None) == there


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_is_no_folder(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NBQNN_CACHE", str(tmp_path / place))
    message = (
        r"^cache '.*file.*' must be a folder that can be written to, but is not: .*; "
        "remedy: another one in NBQNN_CACHE$"
    )
    with pytest.raises(NbqnnError, match=message):
        cached_folder("kind", ["a"], lambda folder: None)
