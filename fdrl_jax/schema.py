"""The fields of a config, with their types and ranges, and the check of a config against them.

Which fields a group has depends on its `name`: a field that an experiment does not use is absent, not ignored.
To add a data set, prior or network, add its row to `BY_NAME` here and its branch in `builders`.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from fdrl_jax.divergences import DIVERGENCES
from fdrl_jax.losses import LOSSES
from fdrl_jax.types import InputError
from fdrl_jax.untrusted import MAX_SHOWN, shown

# What a user hands over: a config file's object, or nested dicts (of JSON, say).
Config: TypeAlias = ConfigDict | Mapping[str, Any]

# A check returns what the field must be, where the value is not that, and None where it is.
Check = Callable[[Any], str | None]
Fields = dict[str, Check]


@dataclasses.dataclass(frozen=True)
class MayBeAbsent:
    """The check of a field that a config may leave out."""

    check: Check

    def __call__(self, value: Any) -> str | None:
        return self.check(value)


# jax.random.key takes a larger seed modulo this plus one, so that two seeds would give the same samples.
MAX_SEED = 2**32 - 1

# Beyond these, int32 counters and float32 arithmetic overflow,
MAX_INT, _MAX_FLOAT = 2**31 - 1, 3e38
# and a slip of the finger, or a hostile config, would take all memory.
_MAX_SIDE, _MAX_WIDTH, _MAX_BLOCKS = 4096, 65536, 1000


def integer(minimum: int, maximum: int = MAX_INT) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
            return None
        too_large = isinstance(value, int) and value > maximum
        return f"an integer of at {f'most {maximum}' if too_large else f'least {minimum}'}"

    return check


def number(minimum: float = -math.inf, maximum: float = math.inf, open_minimum: bool = False) -> Check:
    def check(value: Any) -> str | None:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MAX_FLOAT
        if good and value <= maximum and (value > minimum if open_minimum else value >= minimum):
            return None
        bounds = [f"{'above' if open_minimum else 'at least'} {minimum:g}"] if minimum > -math.inf else []
        bounds += [f"at most {maximum:g}"] if maximum < math.inf else []
        return " ".join(["a finite number", " and ".join(bounds)]).strip()

    return check


def one_of(*values: Any) -> Check:
    def check(value: Any) -> str | None:
        # By type too: True == 1 and 0 == False.
        good = any(value == v and type(value) is type(v) for v in values)
        return None if good else f"one of {', '.join(map(str, values))}"

    return check


def text(what: str, allow_empty: bool = False) -> Check:
    def check(value: Any) -> str | None:
        return None if isinstance(value, str) and (value or allow_empty) else what

    return check


def part(value: Any) -> str | None:
    """k/n: of the images in their order, every n-th from the k-th on."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value) if isinstance(value, str) else None
    return None if match and int(match[1]) < int(match[2]) else "k/n with k < n: every n-th image from the k-th on"


def optional(inner: Check) -> Check:
    def check(value: Any) -> str | None:
        wanted = None if value is None else inner(value)
        return wanted and f"none or {wanted}"

    return check


def sequence(inner: Check, what: str, minimum: int = 0, length: int | None = None) -> Check:
    def check(value: Any) -> str | None:
        good = (
            isinstance(value, tuple)
            and len(value) >= minimum
            and (length is None or len(value) == length)
            and all(inner(v) is None for v in value)
        )
        return None if good else what

    return check


def increasing(inner: Check, what: str) -> Check:
    def check(value: Any) -> str | None:
        good = sequence(inner, what)(value) is None and list(value) == sorted(set(value))
        return None if good else what

    return check


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
        "num_steps": integer(0),
        "kappa": integer(0),
        "step_size": number(0, open_minimum=True),
        "noise": number(0),
        "guided": one_of(True, False),
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
        # What counts as diverged, and what to do then: see `guard`.
        "sample_range": MayBeAbsent(number(0)),
        "spike": MayBeAbsent(number(0)),
        "on_divergence": MayBeAbsent(one_of("stop", "rollback")),
        "max_rollbacks": MayBeAbsent(integer(0)),
        "rollback_rate": MayBeAbsent(number(0, 1, open_minimum=True)),
    },
    # See `diagnostics`.
    "diagnostics": {
        "every": integer(1),
        "num_samples": integer(10),
        "best": one_of("", "precision", "recall", "frechet", "sliced_wasserstein"),
    },
}

# Of every data set that is read from files; see `data.cache` and `data.transform`.
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
# Only images of that class.
_LABEL: Fields = {"label": MayBeAbsent(integer(0))}

_LAYERS = f"a tuple of layer widths, at most {_MAX_BLOCKS}, each at least 1 and at most {_MAX_WIDTH}, such as (64, 64)"
_WIDTHS = sequence(integer(1, _MAX_WIDTH), _LAYERS, minimum=1)
_TABLE = f"a tuple of stages (width, blocks, stride), such as ((24, 1, 1), (48, 1, 2)), at most {_MAX_BLOCKS} blocks"
_STAGES = sequence(sequence(integer(1, _MAX_WIDTH), "", length=3), _TABLE, minimum=1)


def bounded(inner: Check, size: Callable[[Any], int]) -> Check:
    return lambda value: inner(value) or (None if size(value) <= _MAX_BLOCKS else inner(None))


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
        "mlp": {"width": bounded(_WIDTHS, len)},
        "resnet": {
            "stem": integer(1, _MAX_WIDTH),
            "stages": bounded(_STAGES, lambda stages: sum(stage[1] for stage in stages)),
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
    """Check every field by itself.

    Args:
      config: nested mapping with tuples for sequences.
      common, by_name: what fields there are; by default those of an FDRL experiment.

    Raises:
      InputError: the first field that is missing, unknown, or of the wrong type or range.
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
    """The last part of every field's path, and the groups."""
    by_name = [fields for group in BY_NAME.values() for fields in group.values()]
    return {"name", *COMMON, *(name for fields in [*COMMON.values(), *by_name] for name in fields)} - {""}


def nearest(name: str, known: set[str]) -> str:
    """A hint for an unknown name: the closest known one if any is close, else all of them."""
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
        wanted = check_field(values[name])
        if wanted is not None:
            raise InputError(f"config.{prefix}{name} = {shown(values[name])} must be {wanted}")
