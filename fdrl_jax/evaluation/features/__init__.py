"""Feature spaces in which sets of images are compared.

`space = features.get("inception")` returns one by its name; `space.apply(images)` maps uint8 images to vectors.
"""

from fdrl_jax.evaluation.features.feature_space import Examples as Examples
from fdrl_jax.evaluation.features.feature_space import Features as Features
from fdrl_jax.evaluation.features.feature_space import pixels as pixels
from fdrl_jax.evaluation.features.registry import NAMES as NAMES
from fdrl_jax.evaluation.features.registry import get as get
from fdrl_jax.evaluation.features.statistics_files import read_fingerprint as read_fingerprint
from fdrl_jax.evaluation.features.statistics_files import read_statistics as read_statistics
from fdrl_jax.evaluation.features.statistics_files import write_statistics as write_statistics
