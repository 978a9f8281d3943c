"""Licences of data sets, by name and by path."""

import pytest

from fdrl_jax.experiment import schema
from fdrl_jax.inference.data_licences import data_licence, licences


@pytest.mark.parametrize(
    ("name", "path", "licence"),
    [
        ("digits", None, "CC BY 4.0"),
        ("cifar10", "data/cifar10", "state no licence"),
        ("celeba", "data/fashion", "non-commercial research only"),
        ("idx", "/usr/share/datasets/fashion-mnist", "MIT"),
        ("idx", "data/mnist", "Add it"),
        ("folder", "data/emoji/node_modules/emoji-datasource-google/img/google/64", "Apache-2.0"),
        ("folder", "data/emoji/node_modules/emoji-datasource-twitter/img/twitter/64", "CC BY 4.0"),
        ("folder", "holiday", "the user's own images"),
        ("swissroll", None, "drawn from a formula"),
    ],
)
def test_licences(name, path, licence):
    assert licence in data_licence(name, path)


def test_every_data_set_has_a_licence_line():
    for name, fields in schema.BY_NAME["data"].items():
        licence = data_licence(name, "somewhere" if "path" in fields else None)
        assert ("formula" in licence) == ("image_size" not in fields), name
    assert licences({"data": {"name": "digits"}, "prior": {"name": "uniform"}}).keys() == {"training data"}
