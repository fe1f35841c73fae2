"""sim.cache: built once, complete or not there, one builder at a time."""

import subprocess
import sys

import pytest

from sim.cache import cache_folder, cached_folder, keep_only


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
        "from sim.cache import cached_folder\n"
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


def test_keep_only(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    keep_only(tmp_path, "b")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
