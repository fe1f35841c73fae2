"""The wheel and the source archive: what is in them, and that they run where no checkout is."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("nbqnn_train", "hw", "sim", "scripts")
GIT = shutil.which("git")

pytestmark = pytest.mark.skipif(GIT is None, reason="needs git")


def _run(*command, cwd: Path, **environment) -> str:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=variables | environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _tracked() -> list[Path]:
    """Files of the checkout, as they are now, without those that git ignores."""
    names = _run(
        GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY
    )
    paths = (Path(name) for name in names.split("\0") if name)
    return [path for path in paths if (REPOSITORY / path).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict:
    """A checkout of one commit, its wheel, its source archive, and the wheel out of the archive."""
    folder = tmp_path_factory.mktemp("package")
    checkout = folder / "checkout"
    for path in _tracked():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, checkout / path)
    who = ("-c", "user.name=nbqnn", "-c", "user.email=nbqnn@example.org")
    _run(GIT, "init", "--quiet", cwd=checkout)
    _run(GIT, "add", ".", cwd=checkout)
    _run(GIT, *who, "commit", "--quiet", "--message", "as it is", cwd=checkout)
    commit = _run(GIT, "rev-parse", "HEAD", cwd=checkout).strip()
    build = "import setuptools.build_meta as backend; backend.build_{}({!r})"
    _run(sys.executable, "-c", build.format("sdist", str(folder)), cwd=checkout)
    _run(sys.executable, "-c", build.format("wheel", str(folder / "direct")), cwd=checkout)
    archive = next(folder.glob("*.tar.gz"))
    shutil.unpack_archive(archive, folder / "unpacked")
    unpacked = next((folder / "unpacked").iterdir())
    _run(sys.executable, "-c", build.format("wheel", str(folder / "indirect")), cwd=unpacked)
    return {
        "commit": commit,
        "wheel": next((folder / "direct").glob("*.whl")),
        "sources": unpacked,
        "wheel from sources": next((folder / "indirect").glob("*.whl")),
    }


def _contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as file:
        return {
            name: hashlib.sha256(file.read(name)).hexdigest()
            for name in file.namelist()
            if not name.endswith("/RECORD")
        }


def test_a_wheel_has_every_file_of_its_packages(built):
    """Templates, harnesses and fitted figures too; the scripts of a checkout are not needed."""
    wanted = {
        str(path)
        for path in _tracked()
        if path.parts[0] in PACKAGES and not (path.parent == Path("scripts") and not path.suffix)
    }
    found = {name for name in _contents(built["wheel"]) if ".dist-info/" not in name}
    assert found == wanted | {"nbqnn_train/graph/commit.txt"}


def test_a_source_archive_gives_the_same_wheel(built):
    assert _contents(built["wheel"]) == _contents(built["wheel from sources"])


def test_a_source_archive_is_complete(built):
    """Tests, pages and scripts come with it, so that one can go on from there."""
    missing = [path for path in _tracked() if not (built["sources"] / path).is_file()]
    assert [path for path in missing if path.parts[0] not in (".ci", ".gitignore")] == []


def test_an_installed_wheel_runs_and_knows_its_commit(built, tmp_path):
    """In a new environment, which borrows the packages that this one has, but not nbqnn."""
    _run(sys.executable, "-m", "venv", "--without-pip", "environment", cwd=tmp_path)
    python = tmp_path / "environment" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-index", "--no-deps")
    _run(*pip, "install", *quiet, built["wheel"], cwd=tmp_path)
    site = next((tmp_path / "environment" / "lib").glob("python*/site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    nbqnn = python.with_name("nbqnn")
    where = _run(python, "-c", "import hw; print(hw.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(site)
    assert _run(nbqnn, "--version", cwd=tmp_path).endswith(f" (commit {built['commit'][:12]})\n")
    assert " simulate " in _run(nbqnn, "--help", cwd=tmp_path)
    _run(nbqnn, "generate", "--preset", "tiny", "-o", "build", cwd=tmp_path)
    assert built["commit"][:12] in (tmp_path / "build" / "hw.json").read_text()
    assert (tmp_path / "build" / "rtl" / "nbqnn.v").stat().st_size > 100_000
