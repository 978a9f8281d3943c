"""The batches of an array: permutations in every epoch, functions of (seed, step), and random flips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdrl_jax import data
from fdrl_jax.types import InputError


def numbered(count, **options):
    return data.ArrayDataset(np.arange(count, dtype=np.float32)[:, None], **options)


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 40), size=st.integers(1, 100), steps=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_epochs_are_permutations_whatever_the_batch_size(count, size, steps, seed):
    dataset = numbered(count)
    sequence = np.concatenate([dataset.indices(seed, step, size) for step in range(steps)])
    assert len(sequence) == steps * size
    whole = len(sequence) // count * count
    epochs = sequence[:whole].reshape(-1, count)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), np.tile(np.arange(count), (len(epochs), 1)))
    assert len(np.unique(sequence[whole:])) == len(sequence) - whole  # The epoch that is not complete.
    # Batches of one example, asked for in reverse order, are parts of the same sequence.
    last = len(sequence) - 1
    assert [int(dataset.indices(seed, i, 1)[0]) for i in (last, last // 2, 0)] == [
        sequence[i] for i in (last, last // 2, 0)
    ]


def test_a_batch_is_a_function_of_seed_and_step():
    dataset, fresh = numbered(50), numbered(50)
    for step in (7, 0, 7, 123):
        batch = dataset.batch(3, step, 16)
        assert batch.shape == (16, 1)
        np.testing.assert_array_equal(batch[:, 0], dataset.indices(3, step, 16))
        np.testing.assert_array_equal(batch, fresh.batch(3, step, 16))
    assert not np.array_equal(dataset.batch(3, 7, 16), dataset.batch(4, 7, 16))


def test_each_epoch_has_a_permutation_of_its_own():
    first, second = (numbered(100).indices(0, epoch, 100) for epoch in (0, 1))
    assert not np.array_equal(first, np.arange(100))
    assert not np.array_equal(first, second)


def test_flips_mirror_left_to_right_half_of_the_time():
    images = np.random.default_rng(0).integers(0, 256, (64, 4, 5, 3), dtype=np.uint8)
    original = images.copy()
    plain, flipping = data.ArrayDataset(images), data.ArrayDataset(images, flip=True)
    mirrored = []
    for step in range(10):
        as_is, maybe = plain.batch(1, step, 64), flipping.batch(1, step, 64)
        is_mirrored = (maybe == as_is[:, :, ::-1, :]).all(axis=(1, 2, 3))
        assert (is_mirrored ^ (maybe == as_is).all(axis=(1, 2, 3))).all()
        np.testing.assert_array_equal(maybe, flipping.batch(1, step, 64))
        mirrored.append(is_mirrored)
    share = np.mean(mirrored)
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(640)  # Four standard errors.
    assert len(np.unique(mirrored, axis=0)) == 10  # Each step has flips of its own.
    np.testing.assert_array_equal(images, original)


def test_empty_data_set_is_refused():
    with pytest.raises(InputError, match="empty"):
        numbered(0)
