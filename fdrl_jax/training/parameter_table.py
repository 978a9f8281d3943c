"""The table of a network's parameters that a run prints at its start, and `--mode=plan` first."""

from clu import parameter_overview
from jaxtyping import PyTree


def parameter_table(parameters: PyTree) -> str:
    """A table with the name, shape, dtype and size of each parameter, and their sum.

    Args:
      parameters: arrays, or their shapes and dtypes.
    """
    return parameter_overview.get_parameter_overview(parameters, include_stats=False, max_lines=None)
