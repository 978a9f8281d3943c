"""The shapes in every annotation are checked at run time, in all tests; promotions are strict where asked."""

import os
from collections.abc import Iterator

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # Parallel workers share one GPU.

import jax
import jaxtyping
import pytest

# Before anything else imports the package.
with jaxtyping.install_import_hook("fdrl_jax", "strict.typechecker"):
    import fdrl_jax.train  # noqa: F401


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """No implicit change of rank or dtype. For the pure core: optax's own bias correction promotes int32 to float32."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield
