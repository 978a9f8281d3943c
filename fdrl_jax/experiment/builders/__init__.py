"""Build the objects that a config describes: the experiment with its method and network, the data set, and the prior.

Only this package, and its counterpart for classifiers, translates the fields of a config to objects.
"""

from fdrl_jax.experiment.builders.datasets import cache_root as cache_root
from fdrl_jax.experiment.builders.datasets import data_source as data_source
from fdrl_jax.experiment.builders.datasets import dataset as dataset
from fdrl_jax.experiment.builders.datasets import held_out as held_out
from fdrl_jax.experiment.builders.datasets import labelled as labelled
from fdrl_jax.experiment.builders.datasets import prior_source as prior_source
from fdrl_jax.experiment.builders.datasets import sources as sources
from fdrl_jax.experiment.builders.experiment import Experiment as Experiment
from fdrl_jax.experiment.builders.experiment import build as build
from fdrl_jax.experiment.builders.experiment import data_transform as data_transform
from fdrl_jax.experiment.builders.experiment import dataset_name as dataset_name
from fdrl_jax.experiment.builders.experiment import normalise as normalise
from fdrl_jax.experiment.builders.priors import blank_prior as blank_prior
from fdrl_jax.experiment.builders.priors import fit_prior as fit_prior
from fdrl_jax.experiment.builders.priors import load_prior as load_prior
from fdrl_jax.experiment.builders.priors import place_prior as place_prior
from fdrl_jax.experiment.builders.priors import prior_arrays as prior_arrays
from fdrl_jax.experiment.builders.priors import prior_placement as prior_placement
