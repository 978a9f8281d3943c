"""The flags of `main.py` and of its modes, the config file that --config names, and what some flags start."""

import math
import pathlib
import re
import sys
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from fdrl_jax import hosts, manifest, schema
from fdrl_jax.types import InputError

# For several processes, on one machine or many.
HOSTS = ("distributed", "coordinator", "num_processes", "process_id")

# Of each mode, the flags that it takes besides --mode and --help.
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
    """The program's flags; not absl's global ones, so that `run` can be called more than once in a process."""
    fv = flags.FlagValues()

    def integer(name: str, default: int | None, text: str, minimum: int, maximum: int = schema.MAX_INT) -> None:
        flags.DEFINE_integer(name, default, text, lower_bound=minimum, upper_bound=maximum, flag_values=fv)

    config_flags.DEFINE_config_file(
        "config",
        None,
        "train, prepare, plan: configs/NAME.py[:variant]; --config.GROUP.FIELD=VALUE overrides a field.",
        flag_values=fv,
        sys_argv=argv,  # It looks for overrides itself, by default in the process's arguments.
    )
    flags.DEFINE_enum("mode", "train", list(MODES), "What to do.", flag_values=fv)
    flags.DEFINE_string("workdir", None, "The run's directory; made by training.", flag_values=fv)
    how_many = "sample, export: how many, 64 by default; evaluate; figures: how many to measure, 1000 by default."
    integer("num_samples", None, how_many, minimum=1)
    integer("seed", 0, "sample, figures: sample i depends on this and i alone.", 0, schema.MAX_SEED)
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
    """Parse the flags, load the config (None without --config), and list what is no flag: --mode=compare's directories.

    Raises:
      InputError: a flag or a config override is wrong, or the config file cannot be loaded.
    """
    # ml_collections loads every config file into one module, and a file without get_config() would find the last one's.
    sys.modules.pop("config_config", None)
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
            config.to_dict()  # A file that could not be loaded is an object that raises on any use.
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
    """Where the flags say so, make this one of several processes.

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
    hosts.join(fv.coordinator, fv.num_processes, fv.process_id)


def check_hosts(fv: flags.FlagValues, config: Any) -> None:
    """Refuse processes whose commands differ.

    Raises:
      InputError: see `hosts.check_same`.
    """
    if not jax.distributed.is_initialized():
        return
    # Of these each has its own, or may have.
    own = {"config", "compile_cache", *HOSTS}
    given = {"--mode": fv.mode} | {f"--{name}": fv[name].value for name in MODES[fv.mode] if name not in own}
    hosts.check_same(given | (manifest.flat(config.to_dict()) if config is not None else {}))


def keep_compiled(fv: flags.FlagValues) -> None:
    """Keep compiled programs on disk, so that the second start does not compile.

    Raises:
      InputError: --compile_cache is no folder, and cannot be one.
    """
    if "compile_cache" not in MODES[fv.mode]:
        return
    if fv.compile_cache == "off":
        jax.config.update("jax_compilation_cache_dir", None)  # JAX_COMPILATION_CACHE_DIR may have set it.
        return
    # JAX_COMPILATION_CACHE_DIR says where too, and what is kept.
    if fv.compile_cache is None and jax.config.values["jax_compilation_cache_dir"]:
        return
    workdir = pathlib.Path(fv.workdir)
    # Not in an exported model, which is to be handed on, nor in the name of one on the Hub.
    if fv.compile_cache is None and fv.mode != "train" and not (workdir / "checkpoints").is_dir():
        return
    folder = pathlib.Path(fv.compile_cache or workdir / "compile_cache")
    if not next(path for path in (folder, *folder.absolute().parents) if path.exists()).is_dir():
        raise InputError(f"--compile_cache={folder} is a file, or in one: name a folder, or off")
    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    # Every program: with JAX's least compile time, a busy moment decides what is kept, and the next start compiles the
    # rest (4.6 s of start instead of 3.2 on a toy, 6.4 instead of 4.7 on digits, at 0.5 s).
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


# What absl says of a value, and what it means.
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


def _config_flag(argv: list[str]) -> str:
    """--config as it was given."""
    flags_given = [arg for arg in argv[1:] if re.match("--?config=", arg)]
    return flags_given[-1] if flags_given else "--config"


def _field_names(argv: list[str]) -> set[str]:
    """Of the config in --config and its groups; of all that there are where that cannot be loaded by itself."""

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
    """An error's message on one line; of a traceback inside it, what was raised."""
    before, traceback, after = str(error).partition("Traceback (most recent call last)")
    if traceback:
        before += after.strip().splitlines()[-1]
    return " ".join(before.split())
