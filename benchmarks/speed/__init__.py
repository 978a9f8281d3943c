"""Benchmarks of time, memory and FLOPs."""
