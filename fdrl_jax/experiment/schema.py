"""The fields of a config with their types and ranges, and the check of a config against them.

The fields of a group depend on its `name`. A field that an experiment does not use must be absent; it is not ignored.
To add a data set, prior or network, add its row to `BY_NAME` here and its branch in `builders`. Rules that relate two
fields are in `builders.experiment`; the fields that may change when a run is resumed are in `config_changes`.
"""

import difflib
from collections.abc import Mapping
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.experiment.field_checks import (
    Fields,
    MayBeAbsent,
    bounded,
    increasing,
    integer,
    number,
    one_of,
    optional,
    part,
    sequence,
    text,
)
from fdrl_jax.losses import LOSSES
from fdrl_jax.types import MAX_SEED, InputError
from fdrl_jax.utils.untrusted_files import MAX_SHOWN, shown

# The config that a user passes: a ConfigDict from a config file, or nested dicts, such as those read from JSON.
Config: TypeAlias = ConfigDict | Mapping[str, Any]

# Networks and images larger than this, from a mistyped number or a malicious config, would take all memory.
_MAX_SIDE, _MAX_WIDTH, _MAX_BLOCKS = 4096, 65536, 1000

# Groups that a config may leave out.
OPTIONAL_GROUPS = {"diagnostics"}

COMMON: dict[str, Fields] = {
    "": {
        "seed": integer(0, MAX_SEED),
        "loss": one_of(*LOSSES),
        "divergence": one_of(*DIVERGENCES),
        "ema_decay": number(0, 1),
        "precision": one_of("float32", "bf16"),
    },
    "data": {"batch_size": integer(1)},
    "prior": {},
    "model": {"ratio_init": optional(number(0, open_minimum=True))},
    "flow": {
        "num_steps": integer(0),  # K, the flow steps in training.
        "kappa": integer(0),  # kappa, the refinement steps that sampling adds to K.
        "step_size": number(0, open_minimum=True),  # eta.
        "noise": number(0),  # nu.
        "guided": one_of(True, False),  # True trains the ratio on flowed samples, False on the prior's draws ("stale").
    },
    "optimizer": {
        "learning_rate": number(0, open_minimum=True),
        "decay_steps": increasing(integer(1), "a tuple of increasing step numbers, each at least 1"),
        "decay_factor": number(0, 1, open_minimum=True),
        "b1": number(0, 0.999999),
        "b2": number(0, 0.999999999),
    },
    "train": {
        "num_steps": integer(1),
        "log_every": integer(1),
        "sample_every": integer(1),
        "checkpoint_every": integer(1),
        "keep": integer(1),
        "microbatch": MayBeAbsent(integer(0)),
        # Detection of divergence, and the response to it: see `training.stability`.
        "sample_range": MayBeAbsent(number(0)),
        "spike": MayBeAbsent(number(0)),
        "on_divergence": MayBeAbsent(one_of("stop", "rollback")),
        "max_rollbacks": MayBeAbsent(integer(0)),
        "rollback_rate": MayBeAbsent(number(0, 1, open_minimum=True)),
    },
    # See `training.diagnostics`.
    "diagnostics": {
        "every": integer(1),
        "num_samples": integer(10),
        "best": one_of("", "precision", "recall", "frechet", "sliced_wasserstein"),
    },
}

# Fields of every data set that is read from files; see `data.image_cache` and `data.transform`.
_IMAGES: Fields = {
    "path": text("a path, such as 'data/cifar10'"),
    "cache": text("a folder for prepared images, such as 'data/cache'"),
    "transform": text("torchvision's steps, such as 'center_crop:140,resize:64', or ''", allow_empty=True),
    "image_size": integer(1, _MAX_SIDE),
    "channels": one_of(1, 3),
    "flip": one_of(True, False),
    "dequantize_sigma": number(0),
    "on_error": one_of("stop", "skip"),
    "part": part,
}
_SPLIT: Fields = {"split": text("a split, such as 'train'")}
# With this field, only images of that class are used.
_LABEL: Fields = {"label": MayBeAbsent(integer(0))}

_LAYERS = f"a tuple of layer widths, at most {_MAX_BLOCKS}, each at least 1 and at most {_MAX_WIDTH}, such as (64, 64)"
_WIDTHS = sequence(integer(1, _MAX_WIDTH), _LAYERS, minimum=1)
_TABLE = f"a tuple of stages (width, blocks, stride), such as ((24, 1, 1), (48, 1, 2)), at most {_MAX_BLOCKS} blocks"
_STAGES = sequence(sequence(integer(1, _MAX_WIDTH), "", length=3), _TABLE, minimum=1)


BY_NAME: dict[str, dict[str, Fields]] = {
    "data": {
        "digits": {
            "image_size": one_of(8),
            "channels": one_of(1),
            "flip": one_of(True, False),
            "dequantize_sigma": number(0),
            "holdout": MayBeAbsent(integer(0, 1000)),
        },
        "cifar10": _IMAGES | _SPLIT | _LABEL,
        "celeba": _IMAGES | _SPLIT,
        "lsun": _IMAGES,
        "folder": _IMAGES,
        "idx": _IMAGES | _SPLIT | _LABEL,
        "arrays": _IMAGES,
        "tfds": _IMAGES | _SPLIT,
        "gaussian": {
            "mean": sequence(number(), "a pair of finite numbers, such as (6.0, 6.0)", length=2),
            "variance": number(0, open_minimum=True),
        },
        "swissroll": {},
        "eight_gaussians": {},
        "twentyfive_gaussians": {},
    },
    "prior": {
        "ddp": {"rank": integer(0), "jitter": number(0, open_minimum=True)},
        "dataset": {"path": text("a path, such as 'data/cat2dog/trainA'"), "part": part, **_LABEL},
        "uniform": {},
        "normal": {"scale": number(0, open_minimum=True)},
    },
    "model": {
        "mlp": {"width": bounded(_WIDTHS, len, _MAX_BLOCKS)},
        "resnet": {
            "stem": integer(1, _MAX_WIDTH),
            "stages": bounded(_STAGES, lambda stages: sum(stage[1] for stage in stages), _MAX_BLOCKS),
            "attention": integer(0),
            "spectral_norm": one_of(True, False),
        },
    },
}


def check(
    config: Mapping[str, Any],
    common: Mapping[str, Fields] = COMMON,
    by_name: Mapping[str, Mapping[str, Fields]] = BY_NAME,
) -> None:
    """Check each field of a config separately.

    Args:
      config: nested mapping with tuples for sequences.
      common: checks of the fields that every config has, by group; the group "" is the top level.
      by_name: further fields of a group, by the group's `name`. The defaults are the fields of an FDRL experiment.

    Raises:
      InputError: a field is missing, unknown, or of the wrong type or range; the message names the first.
    """
    known = {*common[""], *common} - {""}
    _check_names("", config, known, OPTIONAL_GROUPS)
    present = [group for group in common if group and (group in config or group not in OPTIONAL_GROUPS)]
    for group in present:
        if not isinstance(config[group], Mapping):
            raise InputError(f"config.{group} = {shown(config[group])} must be a group of fields")
    _check_fields("", config, common[""])
    for group in present:
        fields, values = common[group], config[group]
        if group in by_name:
            if "name" not in values:
                raise InputError(f"config.{group}.name is missing: it must be one of {', '.join(by_name[group])}")
            name_field = {"name": one_of(*by_name[group])}
            _check_fields(f"{group}.", values, name_field)
            fields = name_field | fields | by_name[group][values["name"]]
        _check_names(f"{group}.", values, set(fields), {n for n, c in fields.items() if isinstance(c, MayBeAbsent)})
        _check_fields(f"{group}.", values, fields)


def field_names() -> set[str]:
    """Return the names of all fields, without their groups, and the names of all groups."""
    by_name = [fields for group in BY_NAME.values() for fields in group.values()]
    return {"name", *COMMON, *(name for fields in [*COMMON.values(), *by_name] for name in fields)} - {""}


def nearest(name: str, known: set[str]) -> str:
    """Return a hint for an unknown name: a similar name among `known`, or else all of them."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(sorted(known))}"


def _check_names(prefix: str, values: Mapping[str, Any], known: set[str], optional: set[str]) -> None:
    suffix = f" for {prefix}name = {values['name']!r}" if "name" in values else ""
    for name in values:
        if name not in known:
            raise InputError(f"config.{prefix}{name[:MAX_SHOWN]} is not a field{suffix}: {nearest(name, known)}")
    for name in sorted(known - optional):
        if name not in values:
            raise InputError(f"config.{prefix}{name} is missing{suffix}: add it to the config file")


def _check_fields(prefix: str, values: Mapping[str, Any], fields: Fields) -> None:
    for name, check_field in fields.items():
        if isinstance(check_field, MayBeAbsent) and name not in values:
            continue
        description = check_field(values[name])
        if description is not None:
            raise InputError(f"config.{prefix}{name} = {shown(values[name])} must be {description}")
