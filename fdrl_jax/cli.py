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

`fdrl-jax` and `python -m fdrl_jax` are the same program. `--config=digits` and `--config=cifar10:lr-kl` name configs
that come with the package; `--help` lists the flags. Exit codes: 0 done, 1 training diverged, 2 bad input, 130
interrupted (SIGINT), 143 told to stop (SIGTERM). Training saves a checkpoint before it ends with one of the last two; a
second signal ends it at once.
"""

import os
import pathlib
import signal
import sys
from typing import Any

import jax
from absl import flags

from fdrl_jax import DivergedError, InputError, StoppedError, train
from fdrl_jax.flags import (
    MODES,
    check_hosts,
    checkpoint_step,
    existing_path,
    join_hosts,
    one_line,
    output_path,
    parse,
    refuse_beside,
)
from fdrl_jax.types import MAX_INT
from fdrl_jax.utils import sharding
from fdrl_jax.utils.compilation import enable_compilation_cache
from fdrl_jax.utils.signals import raise_on_signals, stop_on_signals

_NO_MEMORY = "error: not enough memory: use fewer samples, a smaller batch_size, or a smaller network in the config"


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
        raise InputError(f"--config is missing: {fv.mode} what? For example --config=digits")
    join_hosts(fv)
    if "compile_cache" in MODES[fv.mode]:
        enable_compilation_cache(fv.compile_cache, pathlib.Path(fv.workdir), is_training=fv.mode == "train")
    check_hosts(fv, config)
    match fv.mode:
        case "train":
            with stop_on_signals() as stop:
                train(config, fv.workdir, stop=stop)
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
            from fdrl_jax.training.classifier import train_classifier

            train_classifier(config, fv.workdir)
        case "prepare":
            _prepare(config)
        case "plan":
            _plan(config, fv.flops_rate)
        case "report":
            from fdrl_jax.evaluation.report import write_report

            out = write_report(fv.workdir, fv.out and output_path(fv.out, {".html": "a report"}))
            print(f"the report of {fv.workdir} is in {out}")
        case "compare":
            from fdrl_jax.evaluation.report import write_comparison

            out = write_comparison(directories, output_path(fv.out or "compare.html", {".html": "a comparison"}))
            print(f"{', '.join(directories)} are side by side in {out}")


def _prepare(config: Any) -> None:
    from fdrl_jax import data
    from fdrl_jax.experiment import builders

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
    from fdrl_jax.training.plan import measured_rate, plan

    costs = plan(config)
    where = "as given by --flops_rate"
    if flops_rate is None:
        flops_rate, where = measured_rate(config), f"measured on this machine's {jax.devices()[0].device_kind}"
    print("\n".join(costs.lines(flops_rate, where)))


def _figures(fv: flags.FlagValues) -> None:
    from fdrl_jax.evaluation import features, figures

    weights = existing_path(fv, "weights")
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
    from fdrl_jax.experiment.loading import load

    return load(fv.workdir, step=checkpoint_step(fv), ema=fv.ema)


def _export(fv: flags.FlagValues) -> None:
    from fdrl_jax.inference.export import export

    if not fv.out:
        raise InputError("--out is missing: the folder to export to")
    count = fv.num_samples or 64
    out = export(
        fv.workdir,
        fv.out,
        rank=fv.rank,
        step=checkpoint_step(fv),
        ema=fv.ema,
        num_samples=count,
        licence=fv.data_licence,
    )
    print(f"fdrl_jax.load({str(out)!r}) reads it; its model card is {out / 'README.md'}")


def _flow_length(fv: flags.FlagValues, model: Any) -> int:
    """The number of flow steps, K + kappa, with kappa from the flag or else from the run's config."""
    flow = model.experiment.config["flow"]
    length = flow["num_steps"] + (flow["kappa"] if fv.kappa is None else fv.kappa)
    if length > MAX_INT:
        raise InputError(f"--kappa={fv.kappa} makes {length} steps, more than {MAX_INT}: use a smaller one")
    return length


def _evaluate(fv: flags.FlagValues) -> None:
    from fdrl_jax.evaluation import protocols

    metrics = protocols.parse(fv.metrics)
    drawn = ("num_samples", "kappa", "batch_size")
    refuse_beside(fv, "write_reference", (*drawn, "samples", "reference", "replicates"), "only the data is looked at")
    refuse_beside(fv, "samples", drawn, "nothing is drawn")
    refuse_beside(fv, "reference", ("num_reference",), "no training image is looked at")
    if fv.num_samples is None and not (fv.samples or fv.write_reference):
        raise InputError("--num_samples is missing: FID, by convention, is of 50,000")
    samples, reference, weights = (existing_path(fv, name) for name in ("samples", "reference", "weights"))
    model = _load(fv)
    workdir = pathlib.Path(fv.workdir)
    cache = workdir / protocols.REFERENCE_FOLDER
    if fv.write_reference:
        path = pathlib.Path(fv.write_reference)
        protocols.write_reference(model, metrics[0], path, weights, fv.num_reference, cache)
        print(f"mean and covariance of the training images in {metrics[0].features} are in {path}")
        return
    results = protocols.evaluate(
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
    protocols.write_results(workdir, results)
    print("\n".join(result.line() for result in results))
    print(f"appended to {workdir / protocols.RESULTS_FILE}")


def _translate(fv: flags.FlagValues) -> None:
    for name in ("input", "out"):
        if not fv[name].value:
            raise InputError(f"--{name} is missing: the folder of images to {'read' if name == 'input' else 'write'}")
    from fdrl_jax.inference.translation import translate_folder

    truth = existing_path(fv, "truth")
    model = _load(fv)
    settings = {"seed": fv.seed, "num_steps": _flow_length(fv, model), "batch_size": fv.batch_size}
    print("\n".join(translate_folder(model, pathlib.Path(fv.input), pathlib.Path(fv.out), truth=truth, **settings)))


def _sample(fv: flags.FlagValues) -> None:
    from fdrl_jax.inference import class_conditional, sample_files

    out, is_folder = sample_files.check_out(fv.out), fv.out.endswith("/")
    sharding.barrier(
        "--out is checked"
    )  # A process that is ahead would otherwise write there before the others have looked.
    model, num_samples = _load(fv), fv.num_samples or 64
    left = f"{fv.out} has some of the samples: delete it to start again" if is_folder else f"{fv.out} was not written"
    with raise_on_signals(f"stopped: {left}"):
        sample_files.write(
            model,
            out,
            is_folder=is_folder,
            num_samples=num_samples,
            seed=fv.seed,
            num_steps=_flow_length(fv, model),
            batch_size=fv.batch_size,
            every=fv.every,
            condition=class_conditional.from_flags(
                fv.label, fv.classifier, fv.scale, num_samples, model.experiment, fv.candidates
            ),
        )
    if sharding.is_first_host():
        print(f"{num_samples} samples from {fv.workdir} (step {model.step}) are in {out}")


def run(argv: list[str]) -> int:
    """Run `main`, turn every foreseeable error into one line on standard error, and return the exit code."""
    try:
        main(argv)
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot read or write {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            if jax.process_count() == 1:
                raise
            print(f"error: another process stopped, or cannot be reached: {one_line(error)[:300]}", file=sys.stderr)
            return 1
        print(_NO_MEMORY, file=sys.stderr)
        return 2
    except MemoryError:
        print(_NO_MEMORY, file=sys.stderr)
        return 2
    except StoppedError as error:
        print(f"{signal.Signals(error.signal).name}: {error}", file=sys.stderr)
        return 128 + error.signal
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def console() -> None:
    """Run the program with the process's arguments, and end the process."""
    code = run(sys.argv)
    if code and jax.distributed.is_initialized():
        # A normal exit would wait for the other processes, which wait for this one; they notice when it is gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
