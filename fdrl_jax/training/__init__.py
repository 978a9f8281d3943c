"""The training loop and what watches it: diagnostics, stability, the run log, the plan of costs."""
