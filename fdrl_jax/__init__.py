"""Flow-Guided Density Ratio Learning (arXiv 2303.03714) in JAX.

model = fdrl_jax.load("runs/digits")
images = fdrl_jax.sample(model, jax.random.key(0), num_samples=64)
"""

from fdrl_jax.classifiers import load_classifier as load_classifier
from fdrl_jax.interpolation import interpolate as interpolate
from fdrl_jax.loading import load as load
from fdrl_jax.refinement import refine as refine
from fdrl_jax.sampling import Model as Model
from fdrl_jax.sampling import sample as sample
from fdrl_jax.sampling import trajectory as trajectory
from fdrl_jax.sharing import export as export
from fdrl_jax.translation import translate as translate
from fdrl_jax.types import DivergedError as DivergedError
from fdrl_jax.types import InputError as InputError
from fdrl_jax.types import StoppedError as StoppedError
from fdrl_jax.version import __version__ as __version__
