"""The documentation builds without a warning, and what it says of the code is there."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, unquote, urlsplit

import pytest

from scripts.cli import main

pytest.importorskip("sphinx", reason="the extra docs is not installed")
nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")

#: Seconds. Pages are executed, also on a machine that other tests keep busy.
pytestmark = pytest.mark.timeout(900)

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Pixels.
PHONE = 375


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built pages."""
    out = tmp_path_factory.mktemp("site")
    # As scripts/docs does it, with nothing kept from before.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"),
            *("--doctree-dir", str(out / "trees"), "docs", str(out / "html")),
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


def test_every_command_and_option_is_in_the_reference(site, capfd):
    """Asked of the command line itself, not of what the page is made from."""
    page = (site / "reference" / "command-line.html").read_text(encoding="utf-8")
    page = page.replace("&#45;", "-")
    for command in ("train", "compile", "simulate", "synth", "explore"):
        assert main([command, "--help"]) == 0
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capfd.readouterr().out)) - {"--help"}
        assert options
        for option in options:
            assert re.search(rf"<span class=\"pre\">{option}</span>", page), (command, option)


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--preset", "huge", "-o", "build"],
        ["compile", __file__, "--hw", "build", "-o", "program"],
        ["evaluate", "no-such-run", "--data", "digits"],
        ["simulate", "program", "--input", __file__],
        ["check", "--model", f"{__file__}:absent"],
    ],
)
def test_what_commands_refuse_is_on_the_page_of_errors(site, arguments, capfd, tmp_path):
    """The line that is printed, with any values where the page has names in italics."""
    with contextlib.chdir(tmp_path):
        assert main(arguments) == 2
    said = capfd.readouterr().err.removeprefix("nbqnn: error: ").strip()
    page = (site / "reference" / "errors.html").read_text(encoding="utf-8")
    assert len(_items(page)) > 500
    assert any(re.fullmatch(pattern, said) for pattern in _items(page)), said


def _items(page: str) -> list[str]:
    """The messages of a page as patterns: names are any text, remedies of our own are left out."""
    patterns = []
    for item in re.findall(r"<li><p>(.+?)</p></li>", page, re.DOTALL):
        message = item.partition(" → ")[0]
        names = re.sub(r"<em>.*?</em>|…", "\0", message, flags=re.DOTALL)
        text = " ".join(unescape(re.sub(r"<[^>]+>", "", names)).split())
        patterns.append(re.escape(text).replace(re.escape("\0"), ".*"))
    return patterns


def test_own_network_runs_through_the_accelerator(site):
    """The page's outputs are those of this build: a wrong code would be a mismatch."""
    page = (site / "guide" / "your-own-network.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    assert re.search(r"8 images, 0 mismatches, \d{4} cycles an image", text)


#: Tutorials in the order in which they are numbered.
TUTORIALS = [
    *("getting-started", "your-own-network", "five-minutes", "paper-figures", "hardware-report"),
    *("from-brevitas", "waveform", "zcu102", "ulx3s"),
]


def test_every_tutorial_is_numbered_listed_and_can_be_downloaded(site):
    listed = re.findall(
        r'<td><p>(\d)</p></td>\s*<td><p><a [^>]*href="guide/([\w-]+)\.html',
        (site / "tutorials.html").read_text(encoding="utf-8"),
    )
    assert listed == [(str(number), name) for number, name in enumerate(TUTORIALS, 1)]
    for number, name in enumerate(TUTORIALS, 1):
        page = (site / "guide" / f"{name}.html").read_text(encoding="utf-8")
        assert f"Tutorial {number} of 9 · " in page, name
        assert f'href="{name}.ipynb"' in page, name
        notebook = nbformat.read(site / "guide" / f"{name}.ipynb", 4)
        nbformat.validate(notebook)
        text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        assert not re.search(r"\]\((?!https?:)|\{\w+\}`|```\{", text), name
        assert bool([cell for cell in notebook.cells if cell.cell_type == "code"]) == (
            "cell_output" in page
        ), name


def test_a_downloaded_notebook_runs_as_it_is(site, tmp_path):
    """In a folder of its own; its outputs are those of the page."""
    notebook = nbformat.read(site / "guide" / "five-minutes.ipynb", 4)
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": tmp_path}},
    ).execute()
    printed = [
        output.text.strip()
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    ]
    page = (site / "guide" / "five-minutes.html").read_text(encoding="utf-8")
    shown = unescape(re.sub(r"<[^>]+>", "", page))
    assert len(printed) == 3
    assert all(text in shown for text in printed)


def test_the_waveform_has_the_steps_that_the_compiler_expects(site):
    """The page reads them from the signals; 128 positions and taps are known by hand."""
    page = (site / "guide" / "waveform.html").read_text(encoding="utf-8")
    text = unescape(re.sub(r"<[^>]+>", "", page))
    # 64 positions, 9 taps of one channel: 2 steps of 8 lanes each.
    assert re.search(r"(?<!\d)128 steps of the array\n", text)
    assert "<svg" in page


def test_a_network_of_brevitas_is_exact(site):
    page = (site / "guide" / "from-brevitas.html").read_text(encoding="utf-8")
    text = unescape(re.sub(r"<[^>]+>", "", page))
    assert "0 of 2970 outputs differ from Brevitas'" in text
    assert "16 images, 0 mismatches" in text


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("getting-started", r"8 images, 0 mismatches"),
        # Counted in the written Tcl by hand: the block design, its parts, the way to a bitstream.
        ("zcu102", r"\n0 codes differ from the interpreter's\n(.|\n)*5 × create_bd_cell"),
        ("ulx3s", r"\n\d\d,\d{3} of 65,536 bytes\n(.|\n)* 0 multipliers, 1\d\d MHz on LFE5U-85F"),
    ],
)
def test_boards_are_reached_as_far_as_here(site, page, said):
    """As far as it goes without a board."""
    text = unescape(re.sub(r"<[^>]+>", "", (site / "guide" / f"{page}.html").read_text("utf-8")))
    assert re.search(said, text)


def test_tables_of_executed_pages_are_whole(site):
    """Rows of tables that commands print, as wide as their first row."""
    rows = 0
    for page in (site / "guide").glob("*.html"):
        text = unescape(re.sub(r"<[^>]+>", "", page.read_text("utf-8")))
        for table in re.findall(r"^[┏┡┃│├└].*(?:\n[┏┡┃│├└].*)*", text, re.MULTILINE):
            lines = table.splitlines()
            assert {len(line) for line in lines} == {len(lines[0])}, table
            rows += len(lines)
    assert rows > 50


def test_pages_name_what_exists():
    """Modules, what is in them, and files, wherever a page has their names."""
    pages = [page for page in (REPOSITORY / "docs").rglob("*.md") if "_build" not in page.parts]
    assert len(pages) > 20
    for page in pages:
        for name in re.findall(
            r"`((?:nbqnn_train|hw|sim|scripts|tests)[./][\w./]+)`", page.read_text()
        ):
            assert name == "hw.json" or _exists(name), (page.name, name)


def _exists(name: str) -> bool:
    path = REPOSITORY.joinpath(*(name if "/" in name else name.replace(".", "/")).split("/"))
    if path.exists() or path.with_suffix(".py").exists():
        return True
    for owner in (path.parent.with_suffix(".py"), path.parent / "__init__.py"):
        if owner.exists() and re.search(rf"\b{path.name}\b", owner.read_text(encoding="utf-8")):
            return True
    return False


class _Links(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.places.update(filter(None, (attributes.get("id"), attributes.get("name"))))
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


def test_no_link_between_pages_leads_nowhere(site):
    pages = {page: _Links(page) for page in site.rglob("*.html")}
    followed = 0
    for page, content in pages.items():
        for link in content.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
            assert target.exists(), (page.name, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].places, (page.name, link)
            followed += 1
    assert followed > 1000


@pytest.fixture(scope="module")
def address(site):
    """The pages behind a server, with the page that looks at them."""
    (site / "widths.html").write_text((HERE / "widths.html").read_text(encoding="utf-8"))
    asked: list[tuple[str, int]] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            asked.append((self.path, int(code)))

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_pages_fit_a_phone_and_can_be_read(site, address, tmp_path):
    """Headless Chromium, 375 pixels: no console error, no scrolling, contrast of WCAG AA."""
    url, asked = address
    pages = [
        str(page.relative_to(site))
        for page in sorted(site.rglob("*.html"))
        if page.name != "widths.html" and "api" not in page.parts
    ]
    pages += ["reference/api/hw.contract.html", "reference/api/nbqnn_train.graph.html"]
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=600000", "--dump-dom"),
            f"{url}/widths.html?{quote(json.dumps(pages))}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    shown = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert shown, done.stderr[-2000:]
    found = json.loads(unescape(shown[1]))
    assert [one["page"] for one in found] == pages
    assert not [one for one in found if one["width"] > PHONE or one["sideways"]]
    assert not [one for one in found if any(one["faint"].values())]
    assert "CONSOLE" not in done.stderr, done.stderr
    missing = [path for path, code in asked if code >= 400 and path != "/favicon.ico"]
    assert asked
    assert not missing
