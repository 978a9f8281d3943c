"""Functions compiled with the options of this machine, and the folder of the cache of compiled programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax.types import InputError
from fdrl_jax.utils import compilation
from fdrl_jax.utils.compilation import Program


@pytest.fixture(autouse=True)
def fresh_options():
    compilation._options.cache_clear()
    yield
    compilation._options.cache_clear()


def product(x, y):
    """A product."""
    return (x @ y).sum()


X, Y = (jnp.asarray(np.random.default_rng(i).normal(size=(256, 256)), jnp.float32) for i in (0, 1))


def test_products_on_a_cpu_are_left_to_xlas_own_kernels():
    # If this fails, XLA no longer uses YNNPACK by default, and the options can be removed.
    assert "ynn" in jax.jit(product).lower(X, Y).compile().as_text()
    assert "ynn" not in Program(product).lower(X, Y).compile().as_text()


def test_a_program_can_be_called_inside_transformations():
    program = Program(product)
    assert program.__doc__ == "A product."
    value = program(X, Y)
    np.testing.assert_allclose(value, product(X, Y), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: program(x, Y))(X), value, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(program)(X[None], Y[None]), [value], rtol=1e-5)
    np.testing.assert_allclose(jax.grad(program)(X, Y), jnp.ones_like(X) @ Y.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(Program(lambda x: program(x, Y))(X), value, rtol=1e-5)


def test_arguments_of_jit_are_passed_on():
    program = Program(lambda x, n: n * x, static_argnames="n")
    assert [program(jnp.ones(2), n=n).sum() for n in (2, 3, 2)] == [4, 6, 4]
    assert program.num_compiled() == 2


@pytest.mark.parametrize("options", [{"xla_cpu_no_such_option": ""}, {"xla_cpu_experimental_ynn_fusion_type": "none"}])
def test_options_that_xla_does_not_know_are_left_out(options, monkeypatch):
    monkeypatch.setattr(compilation, "_CPU_OPTIONS", options)
    assert Program(lambda x: x + 1)(jnp.ones(())) == 2


def test_only_a_cpu_has_options(monkeypatch):
    assert compilation._options()
    compilation._options.cache_clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert compilation._options() is None


@pytest.fixture
def cache_folder():
    """Return a function that returns the folder of JAX's compilation cache; it is unset first and restored on exit."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield lambda: jax.config.values["jax_compilation_cache_dir"]
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("cache", "is_training", "has_checkpoints", "expected"),
    [
        (None, True, False, "run/compile_cache"),
        (None, False, True, "run/compile_cache"),
        (None, False, False, None),  # An exported model.
        ("other", False, False, "other"),
        ("off", True, True, None),
    ],
)
def test_programs_are_stored_in_the_folder_of_the_run(
    cache, is_training, has_checkpoints, expected, tmp_path, monkeypatch, cache_folder
):
    monkeypatch.chdir(tmp_path)
    workdir = tmp_path / "run"
    if has_checkpoints:
        (workdir / "checkpoints").mkdir(parents=True)
    compilation.enable_compilation_cache(cache, workdir, is_training)
    assert cache_folder() == (expected and str(tmp_path / expected))


def test_a_cache_folder_of_the_environment_is_kept_unless_the_cache_is_off(tmp_path, cache_folder):
    jax.config.update("jax_compilation_cache_dir", "/somewhere")
    compilation.enable_compilation_cache(None, tmp_path, is_training=True)
    assert cache_folder() == "/somewhere"
    compilation.enable_compilation_cache("off", tmp_path, is_training=True)
    assert cache_folder() is None


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_is_no_cache_folder(name, tmp_path, cache_folder):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"--compile_cache=.* is a file, or in one: name a folder, or off"):
        compilation.enable_compilation_cache(str(tmp_path / name), tmp_path, is_training=True)
    assert cache_folder() is None
