"""The command line's flags, the modes that take them, and the config that --config names."""

import math
import os
import pathlib
import re
import sys
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from fdrl_jax.experiment import config_changes, schema, shipped_configs
from fdrl_jax.types import MAX_INT, MAX_SEED, InputError
from fdrl_jax.utils import multihost

# Flags of a run on several processes, on one machine or many.
HOSTS = ("distributed", "coordinator", "num_processes", "process_id")

# The flags that each mode takes besides --mode and --help.
MODES = {
    "train": ("config", "workdir", "compile_cache", *HOSTS),
    "sample": (
        *("compile_cache", *HOSTS),
        *("workdir", "num_samples", "seed", "out", "kappa", "batch_size", "every", "step", "ema"),
        *("label", "classifier", "scale", "candidates"),
    ),
    "translate": ("workdir", "input", "out", "truth", "seed", "kappa", "batch_size", "step", "ema"),
    "train_classifier": ("config", "workdir"),
    "evaluate": (
        *("workdir", "metrics", "num_samples", "seed", "kappa", "batch_size", "step", "ema", "samples"),
        *("reference", "num_reference", "weights", "replicates", "write_reference"),
    ),
    "figures": ("workdir", "figures", "seed", "num_samples", "batch_size", "out", "features", "weights"),
    "export": ("workdir", "out", "rank", "step", "ema", "num_samples", "data_licence"),
    "prepare": ("config",),
    "plan": ("config", "flops_rate"),
    "report": ("workdir", "out"),
    "compare": ("out",),
}


def define_flags(argv: list[str]) -> flags.FlagValues:
    """Define the program's flags apart from absl's global ones, so that `cli.run` can be called repeatedly."""
    fv = flags.FlagValues()

    def integer(name: str, default: int | None, text: str, minimum: int, maximum: int = MAX_INT) -> None:
        flags.DEFINE_integer(name, default, text, lower_bound=minimum, upper_bound=maximum, flag_values=fv)

    config_flags.DEFINE_config_file(
        "config",
        None,
        "train, prepare, plan: FILE.py[:variant], or NAME[:variant] of a shipped config, such as digits; "
        "--config.GROUP.FIELD=VALUE overrides a field.",
        flag_values=fv,
        sys_argv=argv,  # By default it would look for overrides in the arguments of the process.
    )
    flags.DEFINE_enum("mode", "train", list(MODES), "What to do.", flag_values=fv)
    flags.DEFINE_string("workdir", None, "The run's directory; made by training.", flag_values=fv)
    how_many = "sample, export: how many, 64 by default; evaluate; figures: how many to measure, 1000 by default."
    integer("num_samples", None, how_many, minimum=1)
    integer("seed", 0, "sample, figures: sample i depends on this and i alone.", 0, MAX_SEED)
    flags.DEFINE_string(
        "out",
        None,
        "sample: FILE.png, a picture; FILE.npz, arrays; FOLDER/, PNGs. figures: a folder, WORKDIR/figures by default. "
        "export: a new folder. "
        "report, compare: FILE.html; by default report.html in the run's directory, and compare.html here.",
        flag_values=fv,
    )
    integer("kappa", None, "sample: refinement steps after training's K.", minimum=0)
    integer("batch_size", None, "How many samples or images at a time.", minimum=1)
    flags.DEFINE_string("input", None, "translate: a folder of images of the source domain.", flag_values=fv)
    flags.DEFINE_string("truth", None, "translate: a folder of true translations, by name.", flag_values=fv)
    integer("every", None, "sample: show the flow, every n-th step.", minimum=1)
    flags.DEFINE_string("label", None, "sample: a class, some by commas in turn, or all.", flag_values=fv)
    flags.DEFINE_string("classifier", None, "sample: of the classes; a workdir, FILE.pt, FILE.py:FUNC.", flag_values=fv)
    flags.DEFINE_float("scale", None, "sample: phi, the pull to the class; 0.1.", lower_bound=0.0, flag_values=fv)
    integer("candidates", None, "sample: choose each start from so many prior draws, by its class; 1.", minimum=1)
    flags.DEFINE_string("step", None, "sample, evaluate, export: a checkpoint's number, or best.", flag_values=fv)
    flags.DEFINE_bool("ema", True, "sample, evaluate, export: averaged parameters, or --noema.", flag_values=fv)
    flags.DEFINE_string(
        "metrics", "precision_recall,frechet", "evaluate: METRIC or METRIC@FEATURES, by commas.", flag_values=fv
    )
    flags.DEFINE_string("samples", None, "evaluate: an .npz or a folder of PNGs, not the model's.", flag_values=fv)
    flags.DEFINE_string("reference", None, "evaluate: mean and covariance (.npz, .pt), not the data's.", flag_values=fv)
    integer("num_reference", None, "evaluate: how many training images; all by default.", minimum=2)
    flags.DEFINE_string(
        "write_reference", None, "evaluate: only write the data's mean and covariance (.npz, .pt).", flag_values=fv
    )
    flags.DEFINE_list(
        "features", ["pixels"], "figures: where nearest images are looked for, such as pixels,lite0.", flag_values=fv
    )
    flags.DEFINE_string("weights", None, "evaluate, figures: the feature network's file.", flag_values=fv)
    integer("replicates", 50, "evaluate: of the bootstrap.", minimum=2)
    flags.DEFINE_list(
        "figures", None, "figures: which, such as fig4,fig5; all that the run can have by default.", flag_values=fv
    )
    integer("rank", None, "export: of the prior, less than exact.", minimum=1)
    flags.DEFINE_string("data_licence", None, "export: for the model card, where it is not known.", flag_values=fv)
    flags.DEFINE_float(
        "flops_rate",
        None,
        "plan: FLOP/s to reckon with, such as 2e14; measured on this machine by default.",
        lower_bound=1.0,
        flag_values=fv,
    )
    flags.DEFINE_string(
        "compile_cache",
        None,
        "train, sample: a folder for compiled programs, WORKDIR/compile_cache by default; off keeps none.",
        flag_values=fv,
    )
    flags.DEFINE_bool(
        "distributed", False, "train, sample: one of several processes, found by SLURM or the TPU pod.", flag_values=fv
    )
    flags.DEFINE_string("coordinator", None, "train, sample: HOST:PORT of process 0, where not found.", flag_values=fv)
    integer("num_processes", None, "With --coordinator: how many processes.", minimum=1)
    integer("process_id", None, "With --coordinator: which of them this is, from 0.", minimum=0)
    flags.DEFINE_bool("help", False, "Print this.", flag_values=fv)
    return fv


def parse(argv: list[str]) -> tuple[flags.FlagValues, Any, list[str]]:
    """Parse the flags, load the config (None without --config), and list the other arguments: directories to compare.

    Raises:
      InputError: a flag or a config override is wrong, or the config file cannot be loaded.
    """
    # ml_collections loads every config file into one module, and a file without get_config() would find the last one's.
    sys.modules.pop("config_config", None)
    shipped_configs.make_importable()
    argv = _with_config_paths(argv)
    try:
        fv = define_flags(argv)
        rest = fv(argv)
    except flags.Error as error:
        if "get_config() takes 0 positional arguments" in str(error):
            raise InputError(
                "--config is an experiment without variants: leave out the colon and what follows"
            ) from None
        raise InputError(_plainer(one_line(error))) from None
    except (AttributeError, KeyError) as error:
        if "get_config" in str(error):
            raise InputError("--config is no experiment: the file defines no get_config()") from None
        name, known = re.findall(r"\w+", str(error))[0], _field_names(argv)
        hint = "this file leaves it out, add it there" if name in schema.field_names() else schema.nearest(name, known)
        raise InputError(f"--config has no field {name!r}: {hint}") from None
    except Exception as error:
        raise InputError(f"{_config_flag(argv)} cannot be loaded: {one_line(error)}: correct the file") from None
    config = fv.config
    try:
        if isinstance(config, (dict, list, tuple, int, float, str)):
            kind = type(config).__name__
            raise InputError(f"get_config() of {_config_flag(argv)} gives a {kind}: let it return a ConfigDict")
        if config is not None:
            config.to_dict()  # The object of a file that could not be loaded raises on any use.
    except InputError:
        raise
    except Exception as error:
        path = pathlib.Path(config_flags.get_config_filename(fv["config"]))
        reason = f"{one_line(error)}: correct the file" if path.exists() else "there is no such file"
        reason = "it is a folder: name a file in it" if path.is_dir() else reason
        raise InputError(f"--config={path} cannot be loaded: {reason}") from None
    for name in ("scale", "flops_rate"):
        value = fv[name].value
        if value is not None and not math.isfinite(value):
            raise InputError(f"--{name}={value} must be a finite number")
    if len(rest) > 1 and fv.mode != "compare":
        raise InputError(f"{rest[1]!r} is not a flag: flags are written --name=value")
    return fv, config, rest[1:]


def join_hosts(fv: flags.FlagValues) -> None:
    """Join the other processes, if the flags ask for several.

    Raises:
      InputError: the flags contradict each other, or the coordinator is no HOST:PORT.
    """
    given = [fv[name].value is not None for name in HOSTS[1:]]
    if any(given) and (fv.distributed or not all(given)):
        raise InputError("--coordinator, --num_processes and --process_id go together, without --distributed")
    if not (any(given) or fv.distributed):
        return
    if all(given) and fv.process_id >= fv.num_processes:
        raise InputError(f"--process_id={fv.process_id} must be less than --num_processes={fv.num_processes}")
    multihost.join(fv.coordinator, fv.num_processes, fv.process_id)


def check_hosts(fv: flags.FlagValues, config: Any) -> None:
    """Refuse processes whose commands differ.

    Raises:
      InputError: see `multihost.check_same`.
    """
    if not jax.distributed.is_initialized():
        return
    # These flags may differ from process to process; the config is compared field by field.
    own = {"config", "compile_cache", *HOSTS}
    given = {"--mode": fv.mode} | {f"--{name}": fv[name].value for name in MODES[fv.mode] if name not in own}
    multihost.check_same(given | (config_changes.flat(config.to_dict()) if config is not None else {}))


def output_path(name: str, kinds: dict[str, str]) -> pathlib.Path:
    """Check --out before any work: its suffix must be one of `kinds`, and the file must be writable."""
    out = pathlib.Path(name)
    if out.suffix not in kinds:
        raise InputError(f"--out={out} must end in {' or '.join(f'{end} ({what})' for end, what in kinds.items())}")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out} {'is a folder' if out.is_dir() else f'cannot be written: check {out.parent}'}")
    return out


def existing_path(fv: flags.FlagValues, name: str) -> pathlib.Path | None:
    """The path in flag `name`, which must exist; None without the flag."""
    path = fv[name].value
    if path is not None and not pathlib.Path(path).exists():
        raise InputError(f"--{name}={path} does not exist: check the path")
    return path and pathlib.Path(path)


def checkpoint_step(fv: flags.FlagValues) -> Any:
    if fv.step in (None, "best"):
        return fv.step
    if not fv.step.isdecimal():
        raise InputError(f"--step={fv.step} must be the number of a checkpoint's step, or best")
    return int(fv.step)


def refuse_beside(fv: flags.FlagValues, name: str, others: tuple[str, ...], because: str) -> None:
    """Refuse flags that have no effect together with flag `name`."""
    for other in others if fv[name].value is not None else ():
        if fv[other].present:
            given = f"--{other}={fv[other].value} and --{name}={fv[name].value}"
            raise InputError(f"{given} do not go together: with --{name} {because}; leave one of the two out")


# Messages of absl about a value, and plainer ones.
_PLAINER = (
    (r"invalid literal for int\(\) with base 10: .*", "must be an integer"),
    (r"could not convert string to float: .*", "must be a number"),
    (r"\('Non-boolean argument to boolean flag', .*", "must be true or false"),
    (r"Failed to parse .* as a ConfigDict: .*", "must be a group of fields: change them one by one"),
)


def _plainer(message: str) -> str:
    for theirs, ours in _PLAINER:
        message = re.sub(theirs, ours, message)
    if "'config." in message:
        return f"{message}; fields are changed together with --config=FILE, in --mode=train"
    unknown = message.startswith("Unknown command line flag") and "Did you mean" not in message
    return f"{message}; --help lists them" if unknown else message


def _with_config_paths(argv: list[str]) -> list[str]:
    """The arguments with the file of a shipped config in place of its name: --config=digits, or --config digits."""

    def path(before: str, arg: str) -> str:
        if re.fullmatch("--?config", before):
            return shipped_configs.path_of(arg)
        flag, equals, value = arg.partition("=")
        return f"{flag}={shipped_configs.path_of(value)}" if equals and re.fullmatch("--?config", flag) else arg

    return [path(before, arg) for before, arg in zip(["", *argv[:-1]], argv, strict=True)]


def _config_flag(argv: list[str]) -> str:
    """The argument --config as the user wrote it."""
    flags_given = [arg for arg in argv[1:] if re.match("--?config=", arg)]
    return flags_given[-1] if flags_given else "--config"


def _field_names(argv: list[str]) -> set[str]:
    """The field names of the config in --config; all known names if that config cannot be loaded by itself."""

    def names(group: Any) -> set[str]:
        return {n for name, v in group.items() for n in ({name} | (names(v) if isinstance(v, ConfigDict) else set()))}

    alone = [argv[0], _config_flag(argv)]
    try:
        fv = define_flags(alone)
        fv(alone)
        return names(fv.config)
    except Exception:
        return schema.field_names()


def one_line(error: Exception) -> str:
    """The message of an error on one line; a traceback inside it is cut down to the error that it ends with."""
    before, traceback, after = str(error).partition("Traceback (most recent call last)")
    if traceback:
        before += after.strip().splitlines()[-1]
    return " ".join(before.split())
