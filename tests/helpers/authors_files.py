"""Files of the authors' PyTorch code (tests/goldens/torch_files) and networks to write such files from.

The files were made by tests/goldens/make_torch_files.py.
"""

import jax
import numpy as np
import parity
from paths import GOLDENS

from fdrl_jax import models
from fdrl_jax.models import convert

FILES = GOLDENS / "torch_files"

with np.load(FILES / "expected.npz") as _arrays:
    EXPECTED = dict(_arrays)

# The stage table of the networks in these files.
SMALL = (models.Stage(4, 2, 1), models.Stage(8, 1, 2))


def full():
    """The network in full.pt, with spectral norm and attention, at its averaged parameters."""
    return convert.read_checkpoint(FILES / "full.pt")[0]


def change(**entries):
    """The state_dict of `full()` with some entries replaced, or removed by None; "__" in a name stands for "."."""
    state_dict = convert.to_torch_state_dict(full()) | {name.replace("__", "."): x for name, x in entries.items()}
    return {name: x for name, x in state_dict.items() if x is not None}


def random_network(architecture):
    """A network with random parameters and vectors of the spectral norm."""
    network = convert.Network(architecture, {}, {})
    estimator = network.estimator("ratio")
    params = parity.random_params(estimator)
    return convert.Network(architecture, params, estimator.init_spectral(jax.random.key(0), params))
