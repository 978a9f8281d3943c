"""Open a page in a real browser: headless Chromium, and a script in a copy of the page that inspects it."""

import html
import json
import pathlib
import re
import subprocess

import real_files

# Chromium makes no window narrower than 500 pixels. A frame can be narrower, and the page in it has the frame's width.
_FRAME = """<!doctype html><meta charset="utf-8"><body><pre id="result"></pre>
<iframe style="width: {width}px; height: 800px; border: 0" srcdoc="{page}"></iframe></body>"""

# The script comes first in the page, so that it notices every error.
_INSPECT = """<script>
const trouble = [];
addEventListener("error", e => trouble.push(`error: ${e.message || e.target.outerHTML.slice(0, 80)}`), true);
document.addEventListener("securitypolicyviolation", e => trouble.push(`violation: ${e.blockedURI}`));
addEventListener("load", () => {
  const root = document.documentElement, style = element => getComputedStyle(element);
  const texts = [...document.querySelectorAll("figure > svg text")];
  parent.document.getElementById("result").textContent = JSON.stringify({
    trouble,
    requests: performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
    width: innerWidth,
    contentWidth: root.scrollWidth,
    images: [...document.images].map(i => ({alt: i.alt, natural: i.naturalWidth, shown: i.clientWidth})),
    plots: [...document.querySelectorAll("figure > svg")].map(p => p.getBoundingClientRect().width),
    plotText: Math.min(...texts.map(t => parseFloat(style(t).fontSize) * t.getScreenCTM().a)),
    boxes: [...document.querySelectorAll(".scroll")].map(b => ({shown: b.clientWidth, inside: b.scrollWidth})),
    headings: [...document.querySelectorAll("h1, h2, h3")].map(h => [h.tagName, h.textContent]),
    scripts: document.querySelectorAll("script").length - 1,
    ids: [...document.querySelectorAll("[id]")].map(e => e.id),
    background: style(document.body).backgroundColor,
    ink: style(document.body).color,
    lines: [...document.querySelectorAll("figure > svg [style*='--series-0']")].map(e => style(e).stroke),
  });
});
</script>"""


def inspect(page: pathlib.Path, width: int, folder: pathlib.Path, dark: bool = False) -> dict:
    """Open a page in the browser and return what the browser shows.

    Args:
      page: the HTML file.
      width: width of the page in CSS pixels.
      folder: folder for the browser's files.
      dark: True for a dark colour scheme.

    Returns:
      The fields that `_INSPECT` collects, and `console`: the browser's messages about the unchanged page.
    """
    text = page.read_text(encoding="utf-8")
    # The page's security policy forbids scripts. In the copy it allows this script and still forbids everything else.
    copy = re.sub(r"(default-src 'none';)", r"\1 script-src 'unsafe-inline';", text, count=1)
    copy = copy.replace("<head>", f"<head>{_INSPECT}", 1)
    frame = folder / f"frame-{width}-{dark}.html"
    frame.write_text(_FRAME.format(width=width, page=html.escape(copy)), encoding="utf-8")
    dump = _chromium(frame, folder, dark)
    result = re.search(r'<pre id="result">(.*?)</pre>', dump.stdout, re.DOTALL)
    assert result, dump.stderr[-2000:]
    assert result[1], "the page did not finish loading"
    unchanged = _chromium(page, folder, dark)
    return {
        **json.loads(html.unescape(result[1])),
        "console": [line for line in unchanged.stderr.splitlines() if "CONSOLE" in line],
    }


def _chromium(page: pathlib.Path, folder: pathlib.Path, dark: bool) -> subprocess.CompletedProcess[str]:
    command = [
        real_files.chromium(),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,900",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=5000",
        "--dump-dom",
        page.absolute().as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
