"""The measures of images that benchmarks of quality compute themselves; their trainings take minutes and are not run.

Covers: `quality.class_conditional`, `quality.composition`, `quality.digits`, `quality.fashion`, `quality.refinement`.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.svm import SVC

from benchmarks.quality import class_conditional, composition, digits, fashion, refinement
from fdrl_jax.data import digits as digits_data
from fdrl_jax.data import digits_labels
from fdrl_jax.utils.pixel_scaling import to_float


@pytest.fixture(scope="module")
def real():
    return to_float(digits_data().examples)


@pytest.fixture(scope="module")
def judge(real):
    return SVC().fit(real.reshape(len(real), -1), digits_labels())


def test_real_digits_are_in_their_class(real, judge):
    row = class_conditional.measure(real, digits_labels(), real, judge)
    assert row["accuracy"] > 0.98
    assert row["worst"] > 0.9
    assert row["precision"] == row["recall"] == 1
    wrong = class_conditional.measure(real, (digits_labels() + 1) % 10, real, judge)
    assert wrong["accuracy"] < 0.02


def test_probabilities_of_ink_sum_to_one(real):
    log_probs = composition.ink_log_probs(jnp.asarray(real))
    assert np.exp(log_probs).sum(axis=1) == pytest.approx(1, abs=1e-5)
    much = np.asarray(log_probs[:, 1] > log_probs[:, 0])
    assert (much == (real.mean(axis=(1, 2, 3)) > composition.INK_MEAN)).all()


def test_reports_have_precision_and_recall(real, judge, capsys):
    digits.report("digits", real[:200], real, judge)
    fashion.report("digits", real[:200], real[:200])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("digits   precision 1.000  recall ")
    assert second == "digits       precision 1.000, recall 1.000"


def test_real_digits_are_at_no_distance(real):
    precision, recall, frechet = refinement.measure(real, digits_data().examples)
    assert (precision, recall) == (1, 1)
    assert frechet == pytest.approx(0, abs=1e-2)
