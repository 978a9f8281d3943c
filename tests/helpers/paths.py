"""Paths of the checkout and of the golden files."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens"
