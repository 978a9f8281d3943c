"""Train an FDRL model, or sample from a trained one.

    python main.py --config=configs/digits.py --workdir=runs/digits
    python main.py --mode=sample --workdir=runs/digits --num_samples=64 --seed=0 --out=samples.png
    python main.py --mode=train_classifier --config=configs/classifier.py --workdir=runs/classifier-digits
    python main.py --mode=translate --workdir=runs/emoji-translation --input=FOLDER --out=NEW_FOLDER
    python main.py --mode=evaluate --workdir=runs/digits --metrics=precision_recall,frechet --num_samples=1797
    python main.py --mode=figures --workdir=runs/digits          the paper's figures, of this run
    python main.py --mode=report --workdir=runs/digits           what is known of a run, as one HTML file
    python main.py --mode=compare runs/digits runs/other         runs side by side, as one HTML file
    python main.py --mode=export --workdir=runs/digits --out=NEW    the model alone, to hand on
    python main.py --mode=plan --config=configs/cifar10.py       what the run costs, before it starts
    python main.py --mode=prepare --config=configs/cifar10.py    read the images; training does it too, if need be

`--help` lists the flags. Exit codes: 0 done, 1 training diverged, 2 bad input, 130 interrupted.
"""

import os
import pathlib
import re
import sys
from typing import Any

import jax
from absl import flags
from ml_collections import config_flags

from fdrl_jax import DivergedError, InputError, schema, sharding

# For several processes, on one machine or many.
HOSTS = ("distributed", "coordinator", "num_processes", "process_id")

# Of each mode, the flags that it takes besides --mode and --help.
MODES = {
    "train": ("config", "workdir", "compile_cache", *HOSTS),
    "sample": (
        *("compile_cache", *HOSTS),
        *("workdir", "num_samples", "seed", "out", "kappa", "batch_size", "every", "step", "ema"),
        *("label", "classifier", "scale"),
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
    config_flags.DEFINE_config_file(
        "config",
        None,
        "train, prepare, plan: configs/NAME.py[:variant]; --config.GROUP.FIELD=VALUE overrides a field.",
        flag_values=fv,
        sys_argv=argv,  # It looks for overrides itself, by default in the process's arguments.
    )
    flags.DEFINE_enum("mode", "train", list(MODES), "What to do.", flag_values=fv)
    flags.DEFINE_string("workdir", None, "The run's directory; made by training.", flag_values=fv)
    flags.DEFINE_integer(
        "num_samples",
        None,
        "sample, export: how many, 64 by default; evaluate; figures: how many to measure, 1000 by default.",
        lower_bound=1,
        flag_values=fv,
    )
    flags.DEFINE_integer(
        "seed",
        0,
        "sample, figures: sample i depends on this and i alone.",
        lower_bound=0,
        upper_bound=schema.MAX_SEED,
        flag_values=fv,
    )
    flags.DEFINE_string(
        "out",
        None,
        "sample: FILE.png, a picture; FILE.npz, arrays; FOLDER/, PNGs. figures: a folder, WORKDIR/figures by default. "
        "export: a new folder. "
        "report, compare: FILE.html; by default report.html in the run's directory, and compare.html here.",
        flag_values=fv,
    )
    flags.DEFINE_integer("kappa", None, "sample: refinement steps after training's K.", lower_bound=0, flag_values=fv)
    flags.DEFINE_integer("batch_size", None, "How many samples or images at a time.", lower_bound=1, flag_values=fv)
    flags.DEFINE_string("input", None, "translate: a folder of images of the source domain.", flag_values=fv)
    flags.DEFINE_string("truth", None, "translate: a folder of true translations, by name.", flag_values=fv)
    flags.DEFINE_integer("every", None, "sample: show the flow, every n-th step.", lower_bound=1, flag_values=fv)
    flags.DEFINE_string("label", None, "sample: a class, some by commas in turn, or all.", flag_values=fv)
    flags.DEFINE_string("classifier", None, "sample: of the classes; a workdir, FILE.pt, FILE.py:FUNC.", flag_values=fv)
    flags.DEFINE_float("scale", None, "sample: phi, the pull to the class; 0.1.", lower_bound=0.0, flag_values=fv)
    flags.DEFINE_string("step", None, "sample, evaluate, export: a checkpoint's number, or best.", flag_values=fv)
    flags.DEFINE_bool("ema", True, "sample, evaluate, export: averaged parameters, or --noema.", flag_values=fv)
    flags.DEFINE_string(
        "metrics", "precision_recall,frechet", "evaluate: METRIC or METRIC@FEATURES, by commas.", flag_values=fv
    )
    flags.DEFINE_string("samples", None, "evaluate: an .npz or a folder of PNGs, not the model's.", flag_values=fv)
    flags.DEFINE_string("reference", None, "evaluate: mean and covariance (.npz, .pt), not the data's.", flag_values=fv)
    flags.DEFINE_integer(
        "num_reference", None, "evaluate: how many training images; all by default.", lower_bound=2, flag_values=fv
    )
    flags.DEFINE_string(
        "write_reference", None, "evaluate: only write the data's mean and covariance (.npz, .pt).", flag_values=fv
    )
    flags.DEFINE_list(
        "features", ["pixels"], "figures: where nearest images are looked for, such as pixels,lite0.", flag_values=fv
    )
    flags.DEFINE_string("weights", None, "evaluate, figures: the feature network's file.", flag_values=fv)
    flags.DEFINE_integer("replicates", 50, "evaluate: of the bootstrap.", lower_bound=2, flag_values=fv)
    flags.DEFINE_list(
        "figures", None, "figures: which, such as fig4,fig5; all that the run can have by default.", flag_values=fv
    )
    flags.DEFINE_integer("rank", None, "export: of the prior, less than exact.", lower_bound=1, flag_values=fv)
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
    flags.DEFINE_integer(
        "num_processes", None, "With --coordinator: how many processes.", lower_bound=1, flag_values=fv
    )
    flags.DEFINE_integer(
        "process_id", None, "With --coordinator: which of them this is, from 0.", lower_bound=0, flag_values=fv
    )
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
        hint = "; fields are changed together with --config=FILE, in --mode=train" if "'config." in str(error) else ""
        raise InputError(_one_line(error) + hint) from None
    except (AttributeError, KeyError) as error:
        if "get_config" in str(error):
            raise InputError("--config is no experiment: the file defines no get_config()") from None
        name = re.findall(r"\w+", str(error))[0]
        raise InputError(f"--config has no field {name!r}: {schema.nearest(name, schema.field_names())}") from None
    except Exception as error:
        raise InputError(f"--config cannot be loaded: {_one_line(error)}") from None
    config = fv.config
    try:
        if config is not None:
            config.to_dict()  # A file that could not be loaded is an object that raises on any use.
    except Exception as error:
        path = pathlib.Path(config_flags.get_config_filename(fv["config"]))
        reason = _one_line(error) if path.exists() else "there is no such file"
        raise InputError(f"--config={path} cannot be loaded: {reason}") from None
    if len(rest) > 1 and fv.mode != "compare":
        raise InputError(f"{rest[1]!r} is not a flag: flags are written --name=value")
    return fv, config, rest[1:]


def _one_line(error: Exception) -> str:
    """An error's message on one line; of a traceback inside it, what was raised."""
    before, traceback, after = str(error).partition("Traceback (most recent call last)")
    if traceback:
        before += after.strip().splitlines()[-1]
    return " ".join(before.split())


def main(argv: list[str]) -> None:
    """Check the flags of the chosen mode and run it."""
    fv, config, directories = parse(argv)
    if fv.help:
        print(__doc__ + fv.get_help())
        return
    for name in sorted({name for names in MODES.values() for name in names} - set(MODES[fv.mode])):
        if fv[name].present:
            modes = "--mode=" + "|".join(mode for mode, names in MODES.items() if name in names)
            why = "; a run is sampled with the config it was trained with" if name == "config" else ""
            raise InputError(f"--{name} is a flag of {modes}, not of --mode={fv.mode}{why}")
    if "workdir" in MODES[fv.mode] and not fv.workdir:
        raise InputError("--workdir is missing: the directory of the run")
    if "config" in MODES[fv.mode] and config is None:
        raise InputError(f"--config is missing: {fv.mode} what? For example --config=configs/digits.py")
    _join(fv)
    _keep_compiled(fv)
    match fv.mode:
        case "train":
            from fdrl_jax.train import train

            train(config, fv.workdir)
        case "sample":
            _sample(fv)
        case "translate":
            _translate(fv)
        case "evaluate":
            _evaluate(fv)
        case "figures":
            _figures(fv)
        case "export":
            _export(fv)
        case "train_classifier":
            from fdrl_jax.classifiers.train import train_classifier

            train_classifier(config, fv.workdir)
        case "prepare":
            _prepare(config)
        case "plan":
            _plan(config, fv.flops_rate)
        case "report":
            from fdrl_jax.report import write_report

            out = write_report(fv.workdir, fv.out and _out(fv.out, {".html": "a report"}))
            print(f"the report of {fv.workdir} is in {out}")
        case "compare":
            from fdrl_jax.report import write_comparison

            out = write_comparison(directories, _out(fv.out or "compare.html", {".html": "a comparison"}))
            print(f"{', '.join(directories)} are side by side in {out}")


def _join(fv: flags.FlagValues) -> None:
    """Where the flags say so, make this one of several processes."""
    given = [fv[name].value is not None for name in HOSTS[1:]]
    if any(given) and (fv.distributed or not all(given)):
        raise InputError("--coordinator, --num_processes and --process_id go together, without --distributed")
    if not (any(given) or fv.distributed):
        return
    if all(given) and fv.process_id >= fv.num_processes:
        raise InputError(f"--process_id={fv.process_id} must be less than --num_processes={fv.num_processes}")
    sharding.join(fv.coordinator, fv.num_processes, fv.process_id)


def _keep_compiled(fv: flags.FlagValues) -> None:
    """Keep compiled programs on disk, so that the second start does not compile."""
    if "compile_cache" not in MODES[fv.mode] or fv.compile_cache == "off":
        return
    # JAX_COMPILATION_CACHE_DIR says where too, and what is kept.
    if fv.compile_cache is None and jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = pathlib.Path(fv.compile_cache or pathlib.Path(fv.workdir) / "compile_cache")
    jax.config.update("jax_compilation_cache_dir", str(folder.absolute()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _prepare(config: Any) -> None:
    from fdrl_jax import builders, data

    experiment = builders.build(config)
    sources = builders.sources(experiment)
    if not sources:
        print(f"data set {experiment.config['data']['name']!r} is not read from files: nothing to prepare")
    for source in sources:
        root = builders.cache_root(experiment.config["data"])
        images = data.prepare(source, root).images
        print(
            f"{len(images):,} images of {source.path}, {images.nbytes / 2**20:,.0f} MiB, are in {source.folder(root)}"
        )


def _plan(config: Any, flops_rate: float | None) -> None:
    from fdrl_jax.plan import measured_rate, plan

    costs = plan(config)
    where = "as given by --flops_rate"
    if flops_rate is None:
        flops_rate, where = measured_rate(config), f"measured on this machine's {jax.devices()[0].device_kind}"
    print("\n".join(costs.lines(flops_rate, where)))


def _out(name: str, kinds: dict[str, str]) -> pathlib.Path:
    """--out, checked before any work: its suffix is one of `kinds`, and it can be written."""
    out = pathlib.Path(name)
    if out.suffix not in kinds:
        raise InputError(f"--out={out} must end in {' or '.join(f'{end} ({what})' for end, what in kinds.items())}")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out={out} {'is a folder' if out.is_dir() else f'cannot be written: check {out.parent}'}")
    return out


def _figures(fv: flags.FlagValues) -> None:
    from fdrl_jax import features, figures

    weights = _existing(fv, "weights")
    figures.write_figures(
        fv.workdir,
        fv.figures,
        fv.out,
        seed=fv.seed,
        num_samples=fv.num_samples or figures.DEFAULT_NUM_SAMPLES,
        batch_size=fv.batch_size,
        spaces=[features.get(name, weights) for name in fv.features],
    )


def _load(fv: flags.FlagValues) -> Any:
    from fdrl_jax.loading import load

    return load(fv.workdir, step=_step(fv), ema=fv.ema)


def _step(fv: flags.FlagValues) -> Any:
    if fv.step in (None, "best"):
        return fv.step
    if not fv.step.isdigit():
        raise InputError(f"--step={fv.step} must be the number of a checkpoint's step, or best")
    return int(fv.step)


def _export(fv: flags.FlagValues) -> None:
    from fdrl_jax.sharing import export

    if not fv.out:
        raise InputError("--out is missing: the folder to export to")
    count = fv.num_samples or 64
    out = export(
        fv.workdir, fv.out, rank=fv.rank, step=_step(fv), ema=fv.ema, num_samples=count, licence=fv.data_licence
    )
    print(f"fdrl_jax.load({str(out)!r}) reads it; its model card is {out / 'README.md'}")


def _flow_length(fv: flags.FlagValues, model: Any) -> int:
    """K + kappa, kappa as given or as the run's config has it."""
    flow = model.experiment.config["flow"]
    return flow["num_steps"] + (flow["kappa"] if fv.kappa is None else fv.kappa)


def _existing(fv: flags.FlagValues, name: str) -> pathlib.Path | None:
    """The path in a flag, or None without it."""
    path = fv[name].value
    if path is not None and not pathlib.Path(path).exists():
        raise InputError(f"--{name}={path} does not exist: check the path")
    return path and pathlib.Path(path)


def _evaluate(fv: flags.FlagValues) -> None:
    from fdrl_jax import evaluate

    metrics = evaluate.parse(fv.metrics)
    if fv.num_samples is None and not (fv.samples or fv.write_reference):
        raise InputError("--num_samples is missing: FID, by convention, is of 50,000")
    samples, reference, weights = (_existing(fv, name) for name in ("samples", "reference", "weights"))
    model = _load(fv)
    workdir = pathlib.Path(fv.workdir)
    cache = workdir / evaluate.REFERENCE_FOLDER
    if fv.write_reference:
        path = pathlib.Path(fv.write_reference)
        evaluate.write_reference(model, metrics[0], path, weights, fv.num_reference, cache)
        print(f"mean and covariance of the training images in {metrics[0].features} are in {path}")
        return
    results = evaluate.evaluate(
        model,
        metrics,
        num_samples=fv.num_samples or 1,
        seed=fv.seed,
        num_steps=_flow_length(fv, model),
        batch_size=fv.batch_size,
        num_reference=fv.num_reference,
        ema=fv.ema,
        replicates=fv.replicates,
        cache=cache,
        samples=samples,
        reference=reference,
        weights=weights,
    )
    evaluate.write_results(workdir, results)
    print("\n".join(result.line() for result in results))
    print(f"appended to {workdir / evaluate.RESULTS_FILE}")


def _translate(fv: flags.FlagValues) -> None:
    for name in ("input", "out"):
        if not fv[name].value:
            raise InputError(f"--{name} is missing: the folder of images to {'read' if name == 'input' else 'write'}")
    from fdrl_jax.translation import translate_folder

    truth = _existing(fv, "truth")
    model = _load(fv)
    settings = {"seed": fv.seed, "num_steps": _flow_length(fv, model), "batch_size": fv.batch_size}
    print("\n".join(translate_folder(model, pathlib.Path(fv.input), pathlib.Path(fv.out), truth=truth, **settings)))


def _sample(fv: flags.FlagValues) -> None:
    from fdrl_jax import classifiers, sample_files

    out = sample_files.check_out(fv.out)
    sharding.wait_for_all("--out is checked")  # Before one of several processes writes there.
    model, num_samples = _load(fv), fv.num_samples or 64
    sample_files.write(
        model,
        out,
        is_folder=fv.out.endswith("/"),
        num_samples=num_samples,
        seed=fv.seed,
        num_steps=_flow_length(fv, model),
        batch_size=fv.batch_size,
        every=fv.every,
        condition=classifiers.from_flags(fv.label, fv.classifier, fv.scale, num_samples, model.experiment),
    )
    if sharding.is_first_host():
        print(f"{num_samples} samples from {fv.workdir} (step {model.step}) are in {out}")


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
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            if jax.process_count() == 1:
                raise
            print(f"error: another process stopped, or cannot be reached: {_one_line(error)[:300]}", file=sys.stderr)
            return 1
        print("error: not enough memory: use a smaller batch_size, or a smaller network in the config", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the newest checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    code = run(sys.argv)
    if code and jax.distributed.is_initialized():
        # At once: JAX would wait for the other processes, which wait for this one. They see that it is gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
