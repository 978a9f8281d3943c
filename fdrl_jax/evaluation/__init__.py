"""How close samples are to data. Numbers here are in the space of the data itself: pixels or coordinates."""

from fdrl_jax.evaluation.bures_wasserstein import bures_wasserstein as bures_wasserstein
from fdrl_jax.evaluation.bures_wasserstein import prior_distance as prior_distance
from fdrl_jax.evaluation.precision_recall import precision_recall as precision_recall
from fdrl_jax.evaluation.sliced_wasserstein import sliced_wasserstein as sliced_wasserstein
