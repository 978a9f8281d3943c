"""Functions compiled with the options of this machine, which are no one else's concern."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdrl_jax import programs
from fdrl_jax.programs import Program


@pytest.fixture(autouse=True)
def options_of_each_test():
    programs._options.cache_clear()
    yield
    programs._options.cache_clear()


def product(x, y):
    """A product."""
    return (x @ y).sum()


X, Y = (jnp.asarray(np.random.default_rng(i).normal(size=(256, 256)), jnp.float32) for i in (0, 1))


def test_products_on_a_cpu_are_left_to_xlas_own_kernels():
    assert "ynn" in jax.jit(product).lower(X, Y).compile().as_text()  # Else the options can go.
    assert "ynn" not in Program(product).lower(X, Y).compile().as_text()


def test_a_program_is_a_function_like_others_inside_of_others():
    program = Program(product)
    assert program.__doc__ == "A product."
    value = program(X, Y)
    np.testing.assert_allclose(value, product(X, Y), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: program(x, Y))(X), value, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(program)(X[None], Y[None]), [value], rtol=1e-5)
    np.testing.assert_allclose(jax.grad(program)(X, Y), jnp.ones_like(X) @ Y.T, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(Program(lambda x: program(x, Y))(X), value, rtol=1e-5)


def test_arguments_of_jit_hold():
    program = Program(lambda x, n: n * x, static_argnames="n")
    assert [program(jnp.ones(2), n=n).sum() for n in (2, 3, 2)] == [4, 6, 4]
    assert program.num_compiled() == 2


@pytest.mark.parametrize("options", [{"xla_cpu_no_such_option": ""}, {"xla_cpu_experimental_ynn_fusion_type": "none"}])
def test_options_that_xla_does_not_know_are_left_out(options, monkeypatch):
    monkeypatch.setattr(programs, "_ON_CPU", options)
    assert Program(lambda x: x + 1)(jnp.ones(())) == 2


def test_options_are_of_a_cpu_alone(monkeypatch):
    assert programs._options()
    programs._options.cache_clear()
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert programs._options() is None
