"""The authors' data-dependent prior: the order of pixels, and files that hold no prior.

Covers: `convert.authors_prior`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from authors_files import EXPECTED, FILES
from opcodes import DISTRIBUTION, body, tensor, write_zip
from parity import assert_close

from fdrl_jax import priors
from fdrl_jax.models import convert
from fdrl_jax.types import InputError


@pytest.mark.parametrize("name", ["ddp.pt", "ddp.pickle"])
def test_the_prior_is_that_of_pytorch_over_rows_columns_channels(name):
    mean, factor = convert.read_ddp(FILES / name)
    assert mean.shape == (2, 2, 3)
    assert mean.dtype == factor.dtype == np.float32
    np.testing.assert_array_equal(mean, EXPECTED["ddp/mean"].reshape(3, 2, 2).transpose(1, 2, 0))
    covariance = EXPECTED["ddp/covariance"].reshape(3, 2, 2, 3, 2, 2).transpose(1, 2, 0, 4, 5, 3).reshape(12, 12)
    assert_close(factor @ factor.T, covariance)
    # The same holds for samples of the prior that is built from them.
    prior = priors.Gaussian(jnp.asarray(mean), jnp.asarray(factor), clip=None)
    draws = prior.sample(jax.random.split(jax.random.key(0), 20_000))
    assert_close(np.cov(np.asarray(draws).reshape(-1, 12).T), covariance, 0.05)


def test_another_image_shape_can_be_passed():
    mean, _ = convert.read_ddp(FILES / "ddp.pt", (3, 4, 1))
    np.testing.assert_array_equal(mean[..., 0], EXPECTED["ddp/mean"].reshape(3, 4))
    with pytest.raises(InputError, match=r"over 12 numbers, not images \[2, 2, 2\]"):
        convert.read_ddp(FILES / "ddp.pt", (2, 2, 2))


@pytest.mark.parametrize(
    ("mean", "factor", "message"),
    [
        (body(None), tensor(16, 0, (4, 4), (4, 1)), "no 'loc' of real numbers and 1 axes"),
        (tensor(16, 0, (2, 2), (2, 1)), tensor(16, 0, (4, 4), (4, 1)), "no 'loc' of real numbers and 1 axes"),
        (tensor(16, 0, (4,), (1,)), tensor(16, 0, (1, 4, 4), (0, 4, 1)), "no '_unbroadcasted_scale_tril' of real"),
        (tensor(16, 0, (4,), (1,)), tensor(16, 0, (3, 4), (4, 1)), r"a mean of 4 numbers and a factor \[3, 4\]"),
        (tensor(16, 0, (4,), (1,)), tensor(16, 0, (3, 3), (3, 1)), r"a mean of 4 numbers and a factor \[3, 3\]"),
        (tensor(16, 12, (4,), (1,)), tensor(16, 0, (4, 4), (4, 1)), "numbers in 'loc' that are not finite"),
        (
            tensor(16, 0, (2,), (1,)),
            tensor(16, 0, (2, 2), (2, 1)),
            r"over 2 numbers, not square images .*pass event_shape=",
        ),
    ],
)
def test_a_distribution_that_is_no_prior_over_images_is_refused(mean, factor, message, tmp_path):
    attributes = b"}(" + body("loc") + mean + body("_unbroadcasted_scale_tril") + factor + b"u"
    numbers = np.append(np.ones(15, np.float32), np.float32(np.inf))
    write_zip(tmp_path / "a.pt", DISTRIBUTION + b")\x81" + attributes + b"b", {"data/0": numbers.tobytes()})
    with pytest.raises(InputError, match=message):
        convert.read_ddp(tmp_path / "a.pt")


def test_something_else_is_no_prior(tmp_path):
    with pytest.raises(InputError, match="holds a dict, not a MultivariateNormal"):
        convert.read_ddp(FILES / "plain.pt")
