"""The fields that may change when a run is resumed, and the description of the others."""

import pytest
import shrink

from fdrl_jax.experiment import builders
from fdrl_jax.experiment.config_changes import differences, fixed_fields, flat


def test_fields_have_their_full_names():
    assert flat({"seed": 1, "flow": {"noise": 0.1, "guided": True}}) == {
        "config.seed": 1,
        "config.flow.noise": 0.1,
        "config.flow.guided": True,
    }


def test_training_diagnostics_and_paths_may_change():
    config = builders.normalise(shrink.tiny_points())
    config["data"] |= {"path": "data/images", "cache": "data/cache"}
    config["prior"] |= {"path": "data/source"}
    free = flat(config).keys() - fixed_fields(config).keys()
    groups = {f"config.{group}.{name}" for group in ("train", "diagnostics") for name in config[group]}
    assert free == groups | {"config.data.path", "config.data.cache", "config.prior.path"}


def test_values_are_those_that_json_stores():
    assert fixed_fields({"model": {"width": (8, 8)}}) == {"config.model.width": [8, 8]}


@pytest.mark.parametrize(
    ("stored", "current", "expected"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {"a": 2, "b": 3}, "a is 1 there and 2 here; b is 'absent' there and 3 here"),
        (
            dict.fromkeys("abcde", 1),
            dict.fromkeys("abcde", 2),
            "a is 1 there and 2 here; b is 1 there and 2 here; c is 1 there and 2 here (and 2 more)",
        ),
    ],
)
def test_three_differences_are_described(stored, current, expected):
    assert differences(stored, current) == expected


def test_only_the_given_names_are_compared():
    assert differences({"a": 1, "b": 1}, {"a": 1, "b": 2}, ["a"]) == ""
