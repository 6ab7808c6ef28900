"""A page in a real headless Chromium: what it looks like and what it complains of."""

import json
import re
import shutil
import subprocess
import tempfile
import zlib
from html import unescape
from pathlib import Path
from typing import Any

import pytest

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--enable-logging=stderr"),
)
BEFORE = """<script>window.faults = [];
addEventListener("error", e => faults.push(String(e.message || e.target.outerHTML)), true)
</script>"""
AFTER = """<script>
const wide = [...document.querySelectorAll("main *")].filter(
  e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".scroll"))
const texts = [...document.querySelectorAll("svg text")].filter(t => t.checkVisibility())
parent.postMessage(JSON.stringify({
  faults, inner: innerWidth, scroll: document.documentElement.scrollWidth,
  requests: performance.getEntriesByType("resource").length,
  wide: wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120)),
  texts: texts.length,
  smallest: Math.min(...texts.map(t => t.getBoundingClientRect().height))}), "*")
</script>"""


FRAME = """<!doctype html><script>
addEventListener("message", e => { document.documentElement.dataset.check = e.data })
</script><iframe src="checked.html" style="width:WIDTHpx;height:900px;border:0"></iframe>"""


def chromium() -> str:
    found = [p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))]
    if not found:
        pytest.skip("no Chromium on this machine: pages are not looked at")
    return found[0]


def run(page: Path, width: int, height: int, *options: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as profile:
        size = f"--window-size={width},{height}"
        call = [chromium(), *QUIET, f"--user-data-dir={profile}", size, *options, page.as_uri()]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done


def check(page: Path, width: int) -> dict[str, Any]:
    """What a script finds in a copy of the page, laid out in a frame of this width: a window has
    500 pixels at least."""
    html = (
        page.read_text().replace("<head>", f"<head>{BEFORE}").replace("</body>", f"{AFTER}</body>")
    )
    page.with_name("checked.html").write_text(html)
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    dom = run(frame, max(width, 600), 900, "--dump-dom").stdout
    [found] = re.findall(r'data-check="([^"]*)"', dom)
    return json.loads(unescape(found))


def screenshot(page: Path, width: int, height: int, *options: str) -> int:
    """Different rows of pixels in the picture: a blank page has one or two."""
    png = page.with_suffix(".png")
    run(page, width, height, f"--screenshot={png}", *options)
    data, at, packed = png.read_bytes(), 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"IHDR":
            pixels = int.from_bytes(data[at + 8 : at + 12])
            channels = {2: 3, 6: 4}[data[at + 17]]
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    assert pixels == width
    raw, stride = zlib.decompress(packed), pixels * channels + 1
    return len({raw[i : i + stride] for i in range(0, len(raw), stride)})


def pages_of_pdf(page: Path) -> int:
    pdf = page.with_suffix(".pdf")
    run(page, 1200, 900, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    assert pdf.read_bytes().startswith(b"%PDF")
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
