"""Tests of long and of interrupted training runs, which take minutes."""
