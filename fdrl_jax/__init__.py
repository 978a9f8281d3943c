"""Flow-Guided Density Ratio Learning (arXiv 2303.03714) in JAX.

model = fdrl_jax.load("runs/digits")
images = fdrl_jax.sample(model, jax.random.key(0), num_samples=64)
"""

from fdrl_jax import compose as compose
from fdrl_jax import divergences as divergences
from fdrl_jax import flow as flow
from fdrl_jax import losses as losses
from fdrl_jax import priors as priors
from fdrl_jax.evaluation import figures as figures
from fdrl_jax.experiment.loading import load as load
from fdrl_jax.experiment.model import Model as Model
from fdrl_jax.experiment.shipped_configs import get_config as get_config
from fdrl_jax.inference.classifiers import load_classifier as load_classifier
from fdrl_jax.inference.export import export as export
from fdrl_jax.inference.interpolation import interpolate as interpolate
from fdrl_jax.inference.refinement import refine as refine
from fdrl_jax.inference.sampling import sample as sample
from fdrl_jax.inference.sampling import trajectory as trajectory
from fdrl_jax.inference.translation import translate as translate
from fdrl_jax.models import convert as convert
from fdrl_jax.training.loop import train as train
from fdrl_jax.types import DivergedError as DivergedError
from fdrl_jax.types import InputError as InputError
from fdrl_jax.types import StoppedError as StoppedError
from fdrl_jax.utils.version import __version__ as __version__
