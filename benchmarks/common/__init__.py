"""Modules that all benchmarks use: command-line arguments, the machine, and the measured networks."""
