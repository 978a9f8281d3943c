"""Modules that every room may import: compilation, devices and hosts, random numbers, safe reading and writing."""
