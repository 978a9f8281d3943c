"""How functions are compiled. The only module that calls `jax.jit`."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax

# XLA's CPU backend gives convolutions and products to the library YNNPACK by default. Its own kernels are faster here:
# with them a convolution of 64 channels at 32x32, batch 8, takes 2.1 ms instead of 3.5, and the gradient of its kernel
# 2.4 instead of 5.0 (2 cores, jax 0.10.2; `python -m benchmarks.kernels`).
_ON_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


class Program:
    """`jax.jit` of a function, with the options that are fastest on this machine.

    The options are chosen at the first call, not before: a backend that is in use can no longer be made one of several
    hosts. JAX takes options for outermost functions alone, so that inside of another transformation (`jax.grad` of
    `Model.ratio`, say) there are none. That is told by the arguments: a call that has no traced one, inside of another
    `jax.jit`, is an error of JAX's.

    Args:
      function: pure.
      **arguments: of `jax.jit`.
    """

    def __init__(self, function: Callable[..., Any], **arguments: Any) -> None:
        functools.update_wrapper(self, function)
        self._inner = jax.jit(function, **arguments)
        self._arguments = arguments

    @functools.cached_property
    def _outermost(self) -> jax.stages.Wrapped:
        return jax.jit(self.__wrapped__, compiler_options=_options(), **self._arguments)  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((args, kwargs)))
        return (self._inner if traced else self._outermost)(*args, **kwargs)

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """As `jax.jit(function).lower`; the options are in it."""
        return self._outermost.lower(*args, **kwargs)

    def num_compiled(self) -> int:
        """For how many shapes and static arguments it was compiled."""
        return self._outermost._cache_size()  # type: ignore[attr-defined]


def nested(function: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    """`jax.jit` as it is, for what is called inside of programs as well as by itself. Arguments as of `Program`."""
    return jax.jit(function, **arguments)


@functools.cache
def _options() -> dict[str, str] | None:
    """`_ON_CPU` where JAX runs on a CPU and its XLA knows them: they are not part of JAX's interface."""
    if jax.default_backend() != "cpu":
        return None
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.jit(lambda: 0, compiler_options=_ON_CPU).lower().compile()
        return _ON_CPU
    return None
