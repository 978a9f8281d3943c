"""The authors' PyTorch files, networks and priors, read and written without PyTorch; no code in a file is run.

`network, config = read_checkpoint("model.pt")` reads a checkpoint of the authors, a bare state_dict, or a .safetensors
file, and `network(images)` returns outputs. To flow with the network, take `estimator = network.estimator("ratio")` at
the parameters `estimator.effective(network.params, network.spectral)`.
"""

from fdrl_jax.models.convert.authors_checkpoint import read_checkpoint as read_checkpoint
from fdrl_jax.models.convert.authors_prior import read_ddp as read_ddp
from fdrl_jax.models.convert.network import Architecture as Architecture
from fdrl_jax.models.convert.network import Network as Network
from fdrl_jax.models.convert.safetensors_file import load_safetensors as load_safetensors
from fdrl_jax.models.convert.safetensors_file import read_safetensors as read_safetensors
from fdrl_jax.models.convert.safetensors_file import save_safetensors as save_safetensors
from fdrl_jax.models.convert.safetensors_file import write_safetensors as write_safetensors
from fdrl_jax.models.convert.state_dict import from_torch_state_dict as from_torch_state_dict
from fdrl_jax.models.convert.state_dict import to_torch_state_dict as to_torch_state_dict
from fdrl_jax.models.convert.torch_file import read_torch_file as read_torch_file
from fdrl_jax.utils.safe_pickle import numpy_array as numpy_array
