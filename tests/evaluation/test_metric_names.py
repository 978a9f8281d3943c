"""The names of metrics on the command line.

Covers: `protocols.metric_names`.
"""

import pytest

from fdrl_jax.evaluation import protocols
from fdrl_jax.evaluation.protocols import Metric
from fdrl_jax.types import InputError


def test_names_are_metric_at_features():
    assert protocols.parse("fid, fid-paper,kid,precision_recall,frechet@lite0,kid@pixels") == [
        Metric("frechet", "inception", "fid"),
        Metric("frechet", "inception-torchvision", "fid-paper"),
        Metric("kid", "inception", "kid"),
        Metric("precision_recall", "pixels", ""),
        Metric("frechet", "lite0", ""),
        Metric("kid", "pixels", ""),
    ]


@pytest.mark.parametrize(
    ("names", "message"), [("", "empty"), ("fidd", "did you mean 'fid'"), ("frechet@", "'frechet@'")]
)
def test_unknown_names_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        protocols.parse(names)
