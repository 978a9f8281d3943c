"""Networks and priors of the authors' PyTorch code in and out, without PyTorch and without running anything in a file.

`network, config = read_checkpoint("model.pt")` reads theirs, a bare state_dict, or a .safetensors file, and
`network(images)` gives outputs. To flow with it, take `estimator = network.estimator("ratio")` at the parameters
`estimator.effective(network.params, network.spectral)`.
"""

from fdrl_jax.convert.checkpoints import read_checkpoint as read_checkpoint
from fdrl_jax.convert.checkpoints import read_ddp as read_ddp
from fdrl_jax.convert.network import Architecture as Architecture
from fdrl_jax.convert.network import Network as Network
from fdrl_jax.convert.safetensors_file import load_safetensors as load_safetensors
from fdrl_jax.convert.safetensors_file import read_safetensors as read_safetensors
from fdrl_jax.convert.safetensors_file import save_safetensors as save_safetensors
from fdrl_jax.convert.safetensors_file import write_safetensors as write_safetensors
from fdrl_jax.convert.state_dict import from_torch_state_dict as from_torch_state_dict
from fdrl_jax.convert.state_dict import to_torch_state_dict as to_torch_state_dict
from fdrl_jax.convert.torch_file import read_torch_file as read_torch_file
from fdrl_jax.pickles import numpy_array as numpy_array
