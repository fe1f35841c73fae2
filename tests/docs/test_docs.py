"""The documentation builds without a warning, and what it says of the code is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the extra docs is not installed")

#: Seconds. Pages are executed, also on a machine that other tests keep busy.
pytestmark = pytest.mark.timeout(900)

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built pages."""
    out = tmp_path_factory.mktemp("site")
    # As scripts/docs does it, with nothing kept from before.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"),
            *("--jobs", "auto", "--doctree-dir", str(out / "trees"), "docs", str(out / "html")),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out / "html"


def test_pages_ask_no_other_host_for_anything(site):
    """Scripts, styles, fonts and pictures are files beside the pages; links may lead elsewhere."""
    wanted = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//""")
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert not wanted.search(page.read_text(encoding="utf-8")), page


def test_every_module_is_in_the_reference(site):
    text = "".join(page.read_text("utf-8") for page in (site / "reference" / "api").glob("*.html"))
    for package in ("nbqnn_train", "hw", "sim"):
        for path in (REPOSITORY / package).rglob("*.py"):
            module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            if path.name != "__init__.py":
                assert f'id="module-{module}"' in text, module


def test_every_command_and_option_is_in_the_reference(site):
    """Asked of the command line itself, not of what the page is made from."""
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    page = page.replace("&#45;", "-")
    for command in ("train", "compile", "simulate", "synth", "explore"):
        asked = subprocess.run(
            [sys.executable, "-m", "scripts.cli", command, "--help"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", asked.stdout)) - {"--help"}
        assert options
        for option in options:
            assert re.search(rf"<span class=\"pre\">{option}</span>", page), (command, option)


def test_own_network_runs_through_the_accelerator(site):
    """The page's outputs are those of this build: a wrong code would be a mismatch."""
    page = (site / "guide" / "your-own-network.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    assert re.search(r"8 images, 0 mismatches, \d{4} cycles an image", text)


def test_glossary_names_modules_that_exist():
    """Where a word lives: a module, or a function in one."""
    text = (REPOSITORY / "docs" / "glossary.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?!hw\.json)(?:nbqnn_train|hw|sim)\.[\w.]+)`", text))
    assert len(named) > 20
    for name in named:
        path = REPOSITORY.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").exists(), name
