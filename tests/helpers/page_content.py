"""The content of an HTML page: its text, tags, embedded pictures, and the points of its plots."""

import base64
import html.parser
import re
import xml.etree.ElementTree as ElementTree

import numpy as np


class Page(html.parser.HTMLParser):
    """The tags and the text of a page.

    Attributes:
      tags: (name, attributes) of each tag, in order.
      text: all text outside of tags, with single spaces.
    """

    def __init__(self, path):
        super().__init__()
        self.tags, self._words = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self._words.append(data)


def decoded(uri):
    """Return the format and the bytes of a picture in a data URI."""
    file_format, data = re.fullmatch(r"data:image/(\w+);base64,(.*)", uri).groups()
    return file_format, base64.b64decode(data)


def points_of(svg, colour="var(--series-0)"):
    """Return the points of each line of a colour, with y pointing upwards."""
    root = ElementTree.fromstring(f'<a xmlns:xlink="x">{svg}</a>')
    paths = [p.get("d") for p in root.iter("path") if f"stroke: {colour}" in p.get("style", "")]
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", path), float) * [1, -1] for path in paths]
