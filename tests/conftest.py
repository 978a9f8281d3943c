"""The shapes in every annotation are checked at run time, in all tests; promotions are strict where asked."""

import os
import pathlib
from collections.abc import Iterator

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # Parallel workers share one GPU.
# Most of the time goes into compiling: programs are kept, and LLVM optimises them little. XLA's
# own passes are the same.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax
import jaxtyping
import pytest

# Before anything else imports the package.
with jaxtyping.install_import_hook("fdrl_jax", "strict.typechecker"):
    import fdrl_jax.training.loop  # noqa: F401


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """No implicit change of rank or dtype. For the pure core: optax's own bias correction promotes int32 to float32."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield
