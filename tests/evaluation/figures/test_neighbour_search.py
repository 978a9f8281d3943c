"""The search for nearest neighbours, against all pairwise distances.

Covers: `figures.neighbour_search`.
"""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from fdrl_jax.evaluation import figures
from fdrl_jax.evaluation.features import Features, pixels
from fdrl_jax.evaluation.figures import neighbour_search
from fdrl_jax.types import InputError


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_nearest_is_a_search_through_all_pairs(block, monkeypatch):
    monkeypatch.setattr(neighbour_search, "_MAX_REFERENCES", block)
    monkeypatch.setattr(neighbour_search, "_MAX_QUERIES", 4)
    generator = np.random.default_rng(4)
    queries, references = (generator.integers(0, 256, (n, 3, 3, 1), dtype=np.uint8) for n in (10, 25))
    result = figures.nearest(queries, references, 1 if block == 1 else 5, pixels())
    exact = cdist(queries.reshape(10, -1).astype(float), references.reshape(25, -1).astype(float))
    order = np.argsort(exact, axis=1)[:, : result.indices.shape[1]]
    np.testing.assert_array_equal(result.indices, order)
    np.testing.assert_allclose(result.distances, np.take_along_axis(exact, order, axis=1), rtol=1e-12)


def test_nearest_in_blocks_smaller_than_k(monkeypatch):
    monkeypatch.setattr(neighbour_search, "_MAX_REFERENCES", 2)
    x = np.arange(10.0)[:, None]
    result = figures.nearest(np.array([[0.0]]), x, 4, pixels())
    assert result.indices.tolist() == [[0, 1, 2, 3]]


def test_a_reference_is_not_its_own_neighbour(monkeypatch):
    monkeypatch.setattr(neighbour_search, "_MAX_REFERENCES", 4)
    x = np.array([[0.0], [1.0], [3.0], [7.0], [7.5]])
    result = figures.nearest(x, x, 1, pixels(), itself=np.arange(5))
    assert result.indices.ravel().tolist() == [1, 0, 1, 4, 3]
    assert result.distances.ravel().tolist() == [1, 1, 2, 0.5, 0.5]
    with pytest.raises(InputError, match="k = 5 nearest neighbours: k must be at least 1 and at most 4"):
        figures.nearest(x, x, 5, pixels(), itself=np.arange(5))


def test_nearest_depends_on_the_feature_space():
    sums = Features("sums", "the sum of an image's pixels", "sums-1", lambda x: x.reshape(len(x), -1).sum(1)[:, None])
    query = np.array([[[[9], [0]]]], np.uint8)
    references = np.array([[[[8], [0]]], [[[0], [9]]]], np.uint8)
    assert figures.nearest(query, references, 1, pixels()).indices.item() == 0
    assert figures.nearest(query, references, 1, sums).indices.item() == 1
