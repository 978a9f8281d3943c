"""Images that are like the training images and were not trained on.

Covers: `builders.datasets`.
"""

import numpy as np
import shrink

from configs import fashion_mnist
from fdrl_jax.experiment import builders


def test_held_out_images_are_the_test_split(tmp_path):
    experiment = builders.build(shrink.shrink(fashion_mnist.get_config("cpu"), folder=tmp_path))
    training, held_out = builders.dataset(experiment, False).examples, builders.held_out(experiment, progress=False)
    np.testing.assert_array_equal(held_out, training[::-1])  # `tiny_data` writes the test split in this order.
    for path in (tmp_path / "data").glob("t10k*"):
        path.unlink()
    assert builders.held_out(experiment, progress=False) is None


def test_held_out_images_are_another_part(tmp_path):
    config = shrink.shrink(fashion_mnist.get_config("cpu"), folder=tmp_path)
    config.data.part, config.data.batch_size = "2/3", 4
    experiment = builders.build(config)
    training, held_out = builders.dataset(experiment, False).examples, builders.held_out(experiment, progress=False)
    assert len(held_out) == len(training) == 8
    assert not {x.tobytes() for x in training} & {x.tobytes() for x in held_out}
