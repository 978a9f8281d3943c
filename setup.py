"""Adds the configs to the package: `configs/` of a checkout is `fdrl_jax/configs/` in a wheel. See pyproject.toml."""

from setuptools import find_packages, setup

configs = ["configs", *(f"configs.{name}" for name in find_packages("configs"))]
setup(
    packages=find_packages(include=["fdrl_jax*"]) + [f"fdrl_jax.{name}" for name in configs],
    package_dir={f"fdrl_jax.{name}": name.replace(".", "/") for name in configs},
)
