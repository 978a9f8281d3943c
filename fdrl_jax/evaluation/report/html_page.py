"""Write a page from one of the templates. Jinja escapes all text."""

import datetime
import importlib.metadata
import pathlib
import platform
from typing import Any

import jinja2

from fdrl_jax.evaluation.report.text_formats import number
from fdrl_jax.utils.atomic_files import atomic
from fdrl_jax.utils.version import __version__


def versions() -> dict[str, str]:
    """Return the versions of the software that writes the page."""
    libraries = {name: importlib.metadata.version(name) for name in ("jax", "numpy", "matplotlib")}
    return {"fdrl_jax": __version__, **libraries, "python": platform.python_version()}


def write_page(template: str, out: pathlib.Path, **context: Any) -> None:
    """Fill a template and write it to a file, which is replaced only once the page is complete.

    Args:
      template: name of a file in `templates/`.
      out: the file to write.
      **context: variables of the template.
    """
    folder = pathlib.Path(__file__).parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number}
    written = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    page = environment.get_template(template).render(
        style=(folder / "style.css").read_text(), versions=versions(), written=written, **context
    )
    with atomic(out) as path:
        path.write_text(page, encoding="utf-8")
