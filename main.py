"""Train an FDRL model, or sample from a trained one.

    python main.py --config=configs/digits.py --workdir=runs/digits
    python main.py --mode=sample --workdir=runs/digits --num_samples=64 --seed=0 --out=samples.png

`python main.py --help` lists the flags. Exit codes: 0 done, 1 training diverged, 2 bad input, 130 interrupted.
"""

import os
import pathlib
import re
import sys
from typing import Any

from absl import app, flags
from ml_collections import config_flags

from fdrl_jax import DivergedError, InputError, schema

FLAGS = flags.FLAGS
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment, configs/NAME.py[:variant]; override fields by --config.GROUP.FIELD=VALUE."
)
_MODE = flags.DEFINE_enum("mode", "train", ["train", "sample"], "What to do.")
_WORKDIR = flags.DEFINE_string("workdir", None, "The run's directory; made by training.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "sample: how many.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "sample: seed; sample i depends on the seed and i alone.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "sample: .png for a picture, .npz for arrays.")
_KAPPA = flags.DEFINE_integer("kappa", None, "sample: refinement steps after the K of training.", lower_bound=0)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "sample: how many are flowed at a time.", lower_bound=1)
_EVERY = flags.DEFINE_integer("every", None, "sample: show the flow, every n-th step.", lower_bound=1)

_SAMPLE_ONLY = ("num_samples", "seed", "out", "kappa", "batch_size", "every")


def parse(argv: list[str]) -> Any:
    """Parse the flags and return the config, or None without --config.

    Raises:
      InputError: a flag or a config override is wrong, or the config file cannot be loaded.
    """
    app.define_help_flags()
    try:
        rest = FLAGS(argv)
    except flags.Error as error:
        raise InputError(_one_line(error)) from None
    except (AttributeError, KeyError) as error:
        name = re.findall(r"\w+", str(error))[0]
        raise InputError(f"--config has no field {name!r}: {schema.nearest(name, schema.field_names())}") from None
    except Exception as error:
        raise InputError(f"--config cannot be loaded: {_one_line(error)}") from None
    config = _CONFIG.value
    try:
        if config is not None:
            config.to_dict()  # A file that could not be loaded is an object that raises on any use.
    except Exception as error:
        path = pathlib.Path(config_flags.get_config_filename(FLAGS["config"]))
        reason = _one_line(error) if path.exists() else "there is no such file"
        raise InputError(f"--config={path} cannot be loaded: {reason}") from None
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r} is not a flag: flags are written --name=value")
    return config


def _one_line(error: Exception) -> str:
    """An error's message on one line; of a traceback inside it, what was raised."""
    before, traceback, after = str(error).partition("Traceback (most recent call last)")
    if traceback:
        before += after.strip().splitlines()[-1]
    return " ".join(before.split())


def main(argv: list[str]) -> None:
    """Check the flags of the chosen mode and run it."""
    config = parse(argv)
    if not _WORKDIR.value:
        raise InputError("--workdir is missing: the directory of the run")
    if _MODE.value == "train":
        if config is None:
            raise InputError("--config is missing: train what? For example --config=configs/digits.py")
        for name in _SAMPLE_ONLY:
            if FLAGS[name].present:
                raise InputError(f"--{name} is a flag of --mode=sample, not of --mode=train")
        from fdrl_jax.train import train

        train(config, _WORKDIR.value)
    else:
        if config is not None:
            raise InputError("--config is a flag of --mode=train: a run is sampled with the config it was trained with")
        _sample(_WORKDIR.value)


def _sample(workdir: str) -> None:
    if not _OUT.value:
        raise InputError("--out is missing: a .png for a picture or a .npz for arrays")
    out = pathlib.Path(_OUT.value)
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out={out} must end in .png (a picture) or .npz (arrays)")
    if out.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out} {'is a folder' if out.is_dir() else f'cannot be written: check {out.parent}'}")
    from fdrl_jax.sampling import load, write_samples

    model = load(workdir)
    flow = model.experiment.config["flow"]
    write_samples(
        model,
        out,
        num_samples=_NUM_SAMPLES.value,
        seed=_SEED.value,
        num_steps=flow["num_steps"] + (flow["kappa"] if _KAPPA.value is None else _KAPPA.value),
        batch_size=_BATCH_SIZE.value,
        every=_EVERY.value,
    )
    print(f"{_NUM_SAMPLES.value} samples from {workdir} (step {model.step}) are in {out}")


def run(argv: list[str]) -> int:
    """`main`, with every foreseeable error as one line on standard error and an exit code."""
    try:
        main(argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot read or write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the newest checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv))
