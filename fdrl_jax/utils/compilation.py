"""Compilation with `jax.jit`: XLA's options, and the cache of compiled programs on disk. Only this module calls it."""

import contextlib
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from fdrl_jax.types import InputError

# XLA's CPU backend leaves convolutions and matrix products to the library YNNPACK by default. XLA's own kernels are
# faster here: a convolution of 64 channels at 32x32, batch 8, takes 2.1 ms instead of 3.5 ms, and the gradient of its
# kernel 2.4 ms instead of 5.0 ms (2 cores, jax 0.10.2; `python -m benchmarks.speed.convolutions`).
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


class Program:
    """A function compiled by `jax.jit` with the XLA options that are fastest on this machine.

    The options are chosen at the first call, not when the object is made: choosing them starts JAX's backend, and a
    backend that has started can no longer join other hosts. JAX accepts options only for the outermost compiled
    function. Inside another transformation (`jax.grad` of `Model.ratio`, say), which is recognised by traced arguments,
    the function is therefore compiled without them. A call inside another `jax.jit` with no traced argument is an error
    that JAX raises.

    Args:
      function: a pure function.
      **arguments: keyword arguments of `jax.jit`, such as `static_argnames`.
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
        """Lower the function like `jax.jit(function).lower`, with the options included."""
        return self._outermost.lower(*args, **kwargs)

    def num_compiled(self) -> int:
        """Return for how many combinations of shapes and static arguments the function has been compiled."""
        return self._outermost._cache_size()  # type: ignore[attr-defined]


def nested(function: Callable[..., Any], **arguments: Any) -> Callable[..., Any]:
    """Return `jax.jit` of a function, without options: for functions that are called inside a `Program` and outside.

    Args:
      function: a pure function.
      **arguments: keyword arguments of `jax.jit`.
    """
    return jax.jit(function, **arguments)


@functools.cache
def _options() -> dict[str, str] | None:
    """Return `_CPU_OPTIONS` if JAX runs on a CPU and its XLA accepts them, else None.

    The options are not part of JAX's interface, so another version may reject them.
    """
    if jax.default_backend() != "cpu":
        return None
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        jax.jit(lambda: 0, compiler_options=_CPU_OPTIONS).lower().compile()
        return _CPU_OPTIONS
    return None


def enable_compilation_cache(cache: str | None, workdir: pathlib.Path, is_training: bool) -> None:
    """Store compiled programs on disk, so that the same command compiles nothing the second time.

    Args:
      cache: the folder; "off" disables the cache; None means the folder in the environment variable
        JAX_COMPILATION_CACHE_DIR or, if that is not set, WORKDIR/compile_cache.
      workdir: the run's directory, or the folder of another model.
      is_training: True in training. If False, and `cache` is None, programs are stored only if `workdir` is that of a
        training run, not that of an exported model.

    Raises:
      InputError: `cache` is a file, or a path inside one.
    """
    if cache == "off":
        jax.config.update("jax_compilation_cache_dir", None)  # JAX_COMPILATION_CACHE_DIR may have set it.
        return
    # JAX has already read JAX_COMPILATION_CACHE_DIR, and the variables that say which programs are stored there.
    if cache is None and jax.config.values["jax_compilation_cache_dir"]:
        return
    # An exported model is meant to be shared, so no cache belongs in its folder. The name of a model on the Hub is no
    # folder at all.
    if cache is None and not is_training and not (workdir / "checkpoints").is_dir():
        return
    folder = pathlib.Path(cache or workdir / "compile_cache")
    if not next(path for path in (folder, *folder.absolute().parents) if path.exists()).is_dir():
        raise InputError(f"--compile_cache={folder} is a file, or in one: name a folder, or off")
    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    # Store every program. JAX stores only those that took longer than a threshold to compile. Whether a program does
    # depends on how busy the machine is, and the next start compiles all others again (with a threshold of 0.5 s it
    # takes 4.6 s instead of 3.2 s on a toy data set, and 6.4 s instead of 4.7 s on digits).
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
