"""Feature spaces by name: built-in spaces, and functions in a user's file.

Covers: `features.registry`, `features.feature_space`.
"""

import hashlib

import numpy as np
import pytest

from fdrl_jax.evaluation import features
from fdrl_jax.types import InputError


def test_pixels_are_flattened():
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    np.testing.assert_array_equal(features.get("pixels").apply(images), images.reshape(2, 12))


@pytest.mark.parametrize(("name", "near"), [("inceptoin", "inception"), ("lite", "lite0"), ("zzz", ".*")])
def test_an_unknown_name_is_refused_with_the_nearest_one(name, near):
    with pytest.raises(InputError, match=f"features '{name}' are not known, did you mean '{near}'"):
        features.get(name)


def test_a_function_of_the_user_is_a_feature_space(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\ndef mean(x):\n    return x.mean(axis=(1, 2)) + np.float64(0)\nbad = 3\nflat = len\n"
    )
    space = features.get(f"{path}:mean")
    images = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    np.testing.assert_allclose(space.apply(images), images.mean(axis=(1, 2)))
    assert space.name == f"{path}:mean"
    assert space.takes == "uint8"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in space.fingerprint
    path.write_text(path.read_text() + "\n")
    assert features.get(f"{path}:mean").fingerprint != space.fingerprint
    for name, message in {
        f"{path}:median": "has no function 'median'",
        f"{path}:bad": "has no function 'bad'",
        f"{tmp_path}/other.py:mean": "is not a Python file",
        f"{tmp_path}:mean": "is not a Python file",
    }.items():
        with pytest.raises(InputError, match=message):
            features.get(name)
    with pytest.raises(InputError, match=r"returned int64 \[\] for 2 images, not numbers \[n, d\]"):
        features.get(f"{path}:flat").apply(images)
    path.write_text("import nothing_of_the_kind\n")
    with pytest.raises(InputError, match=r"mine.py cannot be run \(ModuleNotFoundError"):
        features.get(f"{path}:mean")


@pytest.mark.parametrize("name", ["pixels", "mine.py:mean"])
def test_weights_for_a_space_without_a_network_are_refused(name):
    with pytest.raises(InputError, match="have no weights"):
        features.get(name, "some.pth")
