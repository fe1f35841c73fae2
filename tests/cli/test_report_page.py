"""The report in headless Chromium: drawn, without an error, readable, and no wider than a phone."""

import json
import re
import shutil
import subprocess
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest

from scripts.report import build_report
from tests.cli.test_report import folder

__all__ = ["folder"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = Path(__file__).parents[1] / "docs" / "widths.html"
PHONE = 375
#: A4 without its margins.
PAPER = 718


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_in_a_browser(folder, tmp_path):
    build_report(folder, tmp_path / "report.html", folder)
    page = (tmp_path / "report.html").read_text()
    assert page.count("@media print") == 1
    # The rules for paper, on a screen as wide as paper.
    (tmp_path / "print.html").write_text(page.replace("@media print", "@media screen"))
    (tmp_path / "widths.html").write_text(WIDTHS.read_text(encoding="utf-8"))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"

    def shown(address):
        done = subprocess.run(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"),
                *("--enable-logging=stderr", f"--user-data-dir={tmp_path / 'user'}"),
                *("--virtual-time-budget=60000", "--dump-dom", address),
            ],
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert "CONSOLE" not in done.stderr, done.stderr
        return done.stdout

    try:
        drawn = shown(f"{url}/report.html")
        assert drawn.count('class="plot-container') == 12
        pages = ["report.html", ["print.html", PAPER]]
        measured = shown(f"{url}/widths.html?{quote(json.dumps(pages))}")
    finally:
        server.shutdown()
        server.server_close()
    found, printed = json.loads(
        unescape(re.search(r'<pre id="found">(.+?)</pre>', measured, re.S)[1])
    )
    assert found["width"] <= PHONE
    assert not found["sideways"]
    assert not any(found["faint"].values()), found["faint"]
    assert printed["width"] <= PAPER
    assert not printed["sideways"]
