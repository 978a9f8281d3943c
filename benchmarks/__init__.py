"""Measurements of speed, of the quality of samples, and of robustness. See README.md in this folder."""
