"""Benchmarks of the quality of samples: each trains configs and prints figures that README and docs quote."""
