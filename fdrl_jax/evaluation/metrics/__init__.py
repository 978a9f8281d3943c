"""Distances between two sets of samples, each an array of feature vectors, pixels or coordinates."""

from fdrl_jax.evaluation.metrics.frechet import Moments as Moments
from fdrl_jax.evaluation.metrics.frechet import frechet_distance as frechet_distance
from fdrl_jax.evaluation.metrics.kid import kernel_distance as kernel_distance
from fdrl_jax.evaluation.metrics.knn_precision_recall import neighbourhoods as neighbourhoods
from fdrl_jax.evaluation.metrics.knn_precision_recall import precision_recall as precision_recall
from fdrl_jax.evaluation.metrics.sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
from fdrl_jax.utils.confidence_intervals import CONFIDENCE as CONFIDENCE
from fdrl_jax.utils.confidence_intervals import bootstrap as bootstrap
