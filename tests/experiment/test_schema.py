"""The fields of a config: what is missing, unknown or out of range is named, and close names are suggested."""

import pytest
import shrink

from fdrl_jax.experiment import builders, schema
from fdrl_jax.types import InputError


def set_field(config, name, value):
    """Set the field with the dotted name `name`; the value `...` removes it."""
    *groups, last = name.split(".")
    for group in groups:
        config = config[group]
    if value is ...:
        del config[last]
    else:
        config[last] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", -1, "config.seed = -1 must be an integer of at least 0"),
        ("seed", ..., "config.seed is missing: add it to the config file"),
        ("flow", ..., "config.flow is missing: add it to the config file"),
        ("flow", 3, "config.flow = 3 must be a group of fields"),
        ("flow.noise", ..., "config.flow.noise is missing: add it to the config file"),
        ("flow.step_size", 0, "config.flow.step_size = 0 must be a finite number above 0"),
        ("flow.stepsize", 1.0, "config.flow.stepsize is not a field: did you mean 'step_size'?"),
        ("data.name", ..., r"config\.data\.name is missing: it must be one of digits, cifar10, "),
        ("data.name", "mnist", r"config\.data\.name = 'mnist' must be one of digits, cifar10, "),
        ("data.path", "x", "config.data.path is not a field for data.name = 'gaussian': known here: batch_size, "),
        ("prior.scale", ..., "config.prior.scale is missing for prior.name = 'normal': add it to the config file"),
        ("model.width", (0,), "config.model.width = .* must be a tuple of layer widths, at most 1000, each at least 1"),
        ("optimizer.decay_steps", (2, 1), "must be a tuple of increasing step numbers, each at least 1"),
        ("train.on_divergence", "no", "config.train.on_divergence = 'no' must be one of stop, rollback"),
    ],
)
def test_a_wrong_field_is_named(name, value, message):
    config = builders.normalise(shrink.tiny_points())
    set_field(config, name, value)
    with pytest.raises(InputError, match=message):
        schema.check(config)


@pytest.mark.parametrize("name", ["diagnostics", "train.microbatch", "train.spike", "train.max_rollbacks"])
def test_an_optional_field_or_group_may_be_absent(name):
    config = builders.normalise(shrink.tiny_points())
    set_field(config, name, 1 if name == "train.microbatch" else ...)
    schema.check(config)
    if name == "train.microbatch":
        set_field(config, name, ...)
        schema.check(config)


def test_other_fields_can_be_checked():
    common, by_name = {"": {"size": schema.COMMON["data"]["batch_size"]}}, {}
    schema.check({"size": 3}, common, by_name)
    with pytest.raises(InputError, match=r"config\.seed is not a field: known here: size"):
        schema.check({"size": 3, "seed": 0}, common, by_name)


def test_field_names_are_those_of_all_groups():
    names = schema.field_names()
    assert {"name", "flow", "seed", "kappa", "jitter", "stages", "diagnostics", "microbatch"} <= names
    assert "" not in names
