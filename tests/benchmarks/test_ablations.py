"""The folders of runs, and the intervals in the tables.

Covers: `quality.ablations`.
"""

import pathlib

import numpy as np

from benchmarks.quality import ablations


def test_variants_that_differ_in_training_have_different_folders():
    for table in ablations.TABLES:
        configs = ablations.variants(table).values()
        folders = {ablations.run_folder(config, pathlib.Path("runs")) for config in configs}
        trainings = set()
        for config in configs:
            config.flow.kappa = 0
            trainings.add(str(config))
        assert len(folders) == len(trainings), table


def test_intervals_leave_out_runs_that_diverged():
    values = np.array([1.0, 2.0, 3.0, np.nan])
    # Student's t with 2 degrees of freedom: 4.303 / sqrt(3).
    assert ablations._interval(values) == "2.000 ± 2.484"
    assert ablations._interval(values[:1]) == "1.000 (1 run)"
    assert ablations._interval(values[3:]) == "-"
