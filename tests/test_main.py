"""The command line, in this process: main.run(argv) returns the exit code."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import shrink
from PIL import Image

import fdrl_jax
import main
from fdrl_jax import checkpoint, sampling
from fdrl_jax.command_line import MODES

TINY = (
    "--config.data.batch_size=16",
    "--config.flow.num_steps=3",
    "--config.model.width=(8,8)",
    "--config.train.num_steps=4",
    "--config.train.checkpoint_every=2",
    "--config.train.sample_every=4",
)
FAR = "--config=configs/gaussians.py:far-fdrl"


def run(*argv):
    return main.run(["main.py", *map(str, argv)])


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("points")
    assert run(FAR, f"--workdir={workdir}", *TINY) == 0
    return workdir


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("digits")
    shrink.trained(shrink.tiny_digits(), workdir)
    return workdir


def test_train_is_the_default_and_overrides_reach_the_run(points):
    model = fdrl_jax.load(points)
    assert model.step == 4
    assert model.experiment.config["model"]["width"] == (8, 8)
    assert model.experiment.config["data"]["mean"] == (6.0, 6.0)


def test_the_same_command_again_says_so(points, capsys):
    assert run(FAR, f"--workdir={points}", *TINY, "--mode=train") == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "shape"), [("digits", (8, 8, 1)), ("points", (2,))])
def test_sample_npz(name, shape, request, tmp_path):
    workdir, out = request.getfixturevalue(name), tmp_path / "s.npz"
    flags = ("--mode=sample", f"--workdir={workdir}", f"--out={out}", "--num_samples=5", "--seed=3", "--batch_size=2")
    assert run(*flags) == 0
    with np.load(out) as arrays:
        assert set(arrays) == {"samples"}
        samples = arrays["samples"]
    assert (samples.shape, samples.dtype) == ((5, *shape), np.float32)
    expected = fdrl_jax.sample(fdrl_jax.load(workdir), jax.random.key(3), 5, progress=False)
    np.testing.assert_allclose(samples, expected, atol=2e-5)


def test_sample_png(digits, tmp_path):
    out = tmp_path / "grid.png"
    assert run("--mode=sample", f"--workdir={digits}", f"--out={out}", "--num_samples=9") == 0
    with Image.open(out) as image:
        assert image.size == (3 * 42 + 2, 3 * 42 + 2)  # Cells of 5 x 8 pixels and gaps of 2.


def test_kappa_changes_the_length_of_the_flow(digits, tmp_path):
    samples = {}
    for kappa in (0, 4):
        assert (
            run(
                "--mode=sample", f"--workdir={digits}", f"--out={tmp_path}/s.npz", "--num_samples=2", f"--kappa={kappa}"
            )
            == 0
        )
        with np.load(tmp_path / "s.npz") as arrays:
            samples[kappa] = arrays["samples"]
    model = fdrl_jax.load(digits)
    for kappa, found in samples.items():  # K is 3.
        expected = fdrl_jax.sample(model, 0, 2, num_steps=3 + kappa, progress=False)
        np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(samples[0] - samples[4]).max() > 1e-3


@pytest.mark.parametrize("name", ["digits", "points"])
def test_every_shows_the_flow(name, request, tmp_path):
    workdir = request.getfixturevalue(name)
    flags = ("--mode=sample", f"--workdir={workdir}", "--num_samples=2", "--every=2", "--kappa=2")
    assert run(*flags, f"--out={tmp_path}/flow.npz") == 0
    with np.load(tmp_path / "flow.npz") as arrays:
        assert arrays["steps"].tolist() == [0, 2, 4, 5]
        assert arrays["trajectory"].shape[:2] == (4, 2)
        np.testing.assert_array_equal(arrays["trajectory"][-1], arrays["samples"])
    assert run(*flags, f"--out={tmp_path}/flow.png") == 0
    with Image.open(tmp_path / "flow.png") as image:
        if name == "digits":
            assert image.size == (4 * 42 + 2, 2 * 42 + 2)  # A row a sample, a column a time.


def test_out_is_replaced_only_when_the_new_one_is_whole(digits, tmp_path, monkeypatch):
    out = tmp_path / "s.npz"
    out.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device", str(out))

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", fail)
    assert run("--mode=sample", f"--workdir={digits}", f"--out={out}", "--num_samples=2") == 2
    assert out.read_bytes() == b"old"


def test_help_lists_the_flags(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out.replace("[no]", "")
    for name in {"mode", *(name for names in MODES.values() for name in names)}:
        assert f"--{name}:" in text


SAMPLE = ("--mode=sample", "--workdir={points}", "--out={tmp}/s.npz")
TRAIN = (FAR, "--workdir={tmp}/run")
DIGITS = ("--config=configs/digits.py", "--workdir={tmp}/run")

CIFAR = ("--config=configs/cifar10.py", "--workdir={tmp}/run", "--config.data.path={tmp}/nothing")
BAD = [
    # flags
    ((), "--workdir is missing"),
    (("--workdir={tmp}/run",), "--config is missing"),
    ((FAR,), "--workdir is missing"),
    (("--config=configs/nope.py", "--workdir={tmp}/run"), "configs/nope.py cannot be loaded: there is no such file"),
    (("--config={tmp}/broken.py", "--workdir={tmp}/run"), "cannot be loaded: invalid syntax (broken.py, line 1)"),
    (("--config=configs/gaussians.py:far", "--workdir={tmp}/run"), "variant 'far' must be one of near-stale"),
    (("--config=configs/swissroll.py:quick-lr", "--workdir={tmp}/run"), "variant 'quick-lr' must be one of lsif-chi2"),
    ((*TRAIN, "--mode=tran"), "--mode=tran: value should be one of <train|sample|"),
    ((*TRAIN, "--nonsense=1"), "Unknown command line flag 'nonsense'"),
    ((*TRAIN, "nonsense"), "'nonsense' is not a flag"),
    ((*TRAIN, "--num_samples=3"), "--num_samples is a flag of --mode=sample"),
    ((FAR, "--workdir={tmp}/broken.py"), "broken.py cannot be made: "),
    ((FAR, "--workdir={tmp}/orphan"), "has checkpoints/ but no config.json"),
    ((FAR, "--workdir={points}"), "belongs to another experiment: config.data.batch_size is 16 there and 256 here"),
    (("--mode=sample", "--workdir={points}"), "--out is missing"),
    (
        ("--mode=sample", "--workdir={points}", "--out={tmp}/s.jpg"),
        "must end in .png (a picture), .npz (arrays) or / (a folder of PNGs)",
    ),
    (("--mode=sample", "--workdir={points}", "--out={tmp}/no/s.npz"), "cannot be written: check"),
    (("--mode=sample", "--workdir={points}", "--out={tmp}/dir.npz"), "is a folder"),
    (("--mode=sample", "--workdir={tmp}/none", "--out={tmp}/s.npz"), "holds no training run"),
    (
        (*SAMPLE, FAR),
        "--config is a flag of --mode=train|train_classifier|prepare|plan, not of --mode=sample; a run is",
    ),
    ((*SAMPLE, "--num_samples=0"), "--num_samples=0: 0 is not a positive integer"),
    ((*SAMPLE, "--num_samples=x"), "invalid literal for int() with base 10: 'x'"),
    ((*SAMPLE, "--seed=-1"), "--seed=-1: -1 is not an integer in the range [0, 4294967295]"),
    ((*SAMPLE, "--seed=4294967296"), "is not an integer in the range [0, 4294967295]"),
    ((*SAMPLE, "--config.seed=3"), "'config.seed'. Did you mean: config ?; fields are changed together with --config"),
    (("--config=configs/points.py", "--workdir={tmp}/run"), "the file defines no get_config()"),
    (("--flagfile={tmp}/none",), "none"),
    ((FAR, "--workdir={tmp}/odd"), "odd/checkpoints is not a folder"),
    ((*SAMPLE, "--kappa=-1"), "--kappa=-1: -1 is not a non-negative integer"),
    ((*SAMPLE, "--batch_size=0"), "--batch_size=0: 0 is not a positive integer"),
    ((*SAMPLE, "--every=0"), "--every=0: 0 is not a positive integer"),
    # fields
    ((*TRAIN, "--config.train.num_step=3"), "no field 'num_step': did you mean 'num_steps'?"),
    ((*TRAIN, "--config.trian.num_steps=3"), "no field 'trian': did you mean 'train'?"),
    ((*TRAIN, "--config.train.num_steps=many"), "invalid literal for int() with base 10: 'many'"),
    ((*TRAIN, "--config.seed=-1"), "config.seed = -1 must be an integer of at least 0"),
    ((*TRAIN, "--config.seed=4294967296"), "config.seed = 4294967296 must be an integer of at most 4294967295"),
    (
        (*TRAIN, "--config.train.keep=9999999999"),
        "config.train.keep = 9999999999 must be an integer of at most 2147483647",
    ),
    ((*TRAIN, "--config.flow.step_size=1e300"), "config.flow.step_size = 1e+300 must be a finite number"),
    ((*TRAIN, "--config.loss=mse"), "config.loss = 'mse' must be one of lsif, lr, kliep"),
    ((*TRAIN, "--config.divergence=tv"), "config.divergence = 'tv' must be one of chi2, kl, js, logd, jeffrey"),
    ((*DIGITS, "--config.divergence=kl"), "divergence 'kl' cannot be driven by a network that outputs the ratio r"),
    ((*TRAIN, "--config.ema_decay=1.1"), "config.ema_decay = 1.1 must be a finite number at least 0 and at most 1"),
    ((*TRAIN, "--config.precision=fp8"), "config.precision = 'fp8' must be one of float32, bf16"),
    ((*TRAIN, "--config.data.name=moons"), "config.data.name = 'moons' must be one of digits"),
    ((*TRAIN, "--config.data.name=digits"), "config.data.mean is not a field for data.name = 'digits'"),
    ((*TRAIN, "--config.data.batch_size=0"), "config.data.batch_size = 0 must be an integer of at least 1"),
    ((*TRAIN, "--config.data.mean=(1.0,)"), "config.data.mean = (1.0,) must be a pair of finite numbers"),
    ((*TRAIN, "--config.data.variance=0.0"), "config.data.variance = 0.0 must be a finite number above 0"),
    ((*DIGITS, "--config.data.batch_size=2000"), "is more than the 1500 examples of data set 'digits'"),
    ((*DIGITS, "--config.data.image_size=28"), "config.data.image_size = 28 must be one of 8"),
    ((*DIGITS, "--config.data.channels=3"), "config.data.channels = 3 must be one of 1"),
    ((*DIGITS, "--config.data.flip=maybe"), "Non-boolean argument to boolean flag"),
    ((*DIGITS, "--config.data.dequantize_sigma=-1.0"), "config.data.dequantize_sigma = -1.0 must be a finite number"),
    ((*TRAIN, "--config.prior.name=ddp"), "config.prior.scale is not a field for prior.name = 'ddp'"),
    ((*TRAIN, "--config.prior.scale=-1.0"), "config.prior.scale = -1.0 must be a finite number above 0"),
    ((*DIGITS, "--config.prior.rank=-1"), "config.prior.rank = -1 must be an integer of at least 0"),
    ((*DIGITS, "--config.prior.rank=65"), "config.prior.rank = 65 is more than the 64 pixels of an image"),
    (
        (*DIGITS, "--config.model.stages=((4, 1, 1),)", "--config.model.attention=1"),
        "attention = 1 works on an eighth of",
    ),
    (
        ("--config=configs/digits.py:foo", "--workdir={tmp}/run"),
        "--config is an experiment without variants: leave out the colon",
    ),
    ((*DIGITS, "--config.model.attention=4"), "config.model.attention = 4 is the stage that attention follows"),
    (
        ("--mode=prepare", "--workdir={tmp}/run", FAR),
        "--workdir is a flag of --mode=train|sample|",
    ),
    (
        ("--mode=sample", "--workdir={points}", "--out={tmp}/x.npz", "--step=²"),
        "--step=² must be the number of a checkpoint's step",
    ),
    (
        ("--config=configs/classifier.py", "--workdir={tmp}/run"),
        "this is a classifier's config",
    ),
    (("--mode=prepare",), "--config is missing: prepare what?"),
    (("--mode=figures",), "--workdir is missing"),
    (("--mode=figures", "--workdir={tmp}/none"), "holds no training run"),
    (("--mode=figures", "--workdir={points}", "--figures=fig99"), "there is no figure 'fig99': figures are fig2, fig3"),
    (("--mode=figures", "--workdir={points}", "--figures="), "no figure is named: figures are fig2, fig3"),
    (("--mode=figures", "--workdir={points}", "--figures=fig9"), "fig9 cannot be drawn of {points}: it is of images"),
    (("--mode=figures", "--workdir={points}", "--figures=table1"), "table1 cannot be drawn of {points}: no FID was"),
    (("--mode=figures", "--workdir={points}", "--out={tmp}/broken.py"), "broken.py cannot be made: File exists"),
    (("--mode=figures", "--workdir={points}", "--every=2"), "--every is a flag of --mode=sample, not of"),
    (("--mode=plan", FAR, "--flops_rate=0"), "--flops_rate=0: 0.0 is not number >= 1.0"),
    ((*TRAIN, "--flops_rate=1e12"), "--flops_rate is a flag of --mode=plan, not of --mode=train"),
    (CIFAR, "cannot be read (No such file or directory): config.data.path must be"),
    ((*CIFAR, "--config.data.on_error=ignore"), "config.data.on_error = 'ignore' must be one of stop, skip"),
    ((*CIFAR, "--config.data.transform=blur:3"), "config.data.transform = 'blur:3' has a step 'blur:3'"),
    ((*CIFAR, "--config.data.part=3/3"), "config.data.part = '3/3' must be k/n with k < n"),
    ((*CIFAR, "--config.data.path="), "config.data.path = '' must be a path"),
    ((*CIFAR, "--config.prior.name=dataset"), "config.prior."),
    ((*DIGITS, "--config.prior.jitter=0.0"), "config.prior.jitter = 0.0 must be a finite number above 0"),
    ((*TRAIN, "--config.model.name=unet"), "config.model.name = 'unet' must be one of mlp, resnet"),
    ((*TRAIN, "--config.model.width=(64,-1)"), "config.model.width = (64, -1) must be a tuple of layer widths"),
    ((*DIGITS, "--config.model.stem=0"), "config.model.stem = 0 must be an integer of at least 1"),
    ((*DIGITS, "--config.model.stages=((4,1),)"), "must be a tuple of stages (width, blocks, stride)"),
    ((*DIGITS, "--config.model.stages=((4,1,4),(4,1,4))"), "shrink an image 16 times, and it has 8 pixels a side"),
    (
        (*DIGITS, "--config.model.ratio_init=0.0"),
        "config.model.ratio_init = 0.0 must be none or a finite number above 0",
    ),
    ((*TRAIN, "--config.flow.num_steps=-1"), "config.flow.num_steps = -1 must be an integer of at least 0"),
    ((*TRAIN, "--config.flow.kappa=-1"), "config.flow.kappa = -1 must be an integer of at least 0"),
    ((*TRAIN, "--config.flow.step_size=0.0"), "config.flow.step_size = 0.0 must be a finite number above 0"),
    ((*TRAIN, "--config.flow.step_size=nan"), "config.flow.step_size = nan must be a finite number above 0"),
    ((*TRAIN, "--config.flow.noise=-0.1"), "config.flow.noise = -0.1 must be a finite number at least 0"),
    ((*TRAIN, "--config.flow.guided=3"), "Non-boolean argument to boolean flag"),
    (
        (*TRAIN, "--config.optimizer.learning_rate=-1.0"),
        "config.optimizer.learning_rate = -1.0 must be a finite number",
    ),
    (
        (*TRAIN, "--config.optimizer.decay_steps=(0,)"),
        "config.optimizer.decay_steps = (0,) must be a tuple of increasing",
    ),
    (
        (*TRAIN, "--config.optimizer.decay_steps=(9,9)"),
        "config.optimizer.decay_steps = (9, 9) must be a tuple of increas",
    ),
    ((*TRAIN, "--config.optimizer.decay_factor=2.0"), "config.optimizer.decay_factor = 2.0 must be a finite number"),
    ((*TRAIN, "--config.optimizer.b1=1.0"), "config.optimizer.b1 = 1.0 must be a finite number"),
    ((*TRAIN, "--config.optimizer.b2=-0.1"), "config.optimizer.b2 = -0.1 must be a finite number"),
    ((*TRAIN, "--config.train.num_steps=0"), "config.train.num_steps = 0 must be an integer of at least 1"),
    ((*TRAIN, "--config.train.log_every=0"), "config.train.log_every = 0 must be an integer of at least 1"),
    ((*TRAIN, "--config.train.sample_every=0"), "config.train.sample_every = 0 must be an integer of at least 1"),
    (
        (*TRAIN, "--config.train.checkpoint_every=0"),
        "config.train.checkpoint_every = 0 must be an integer of at least 1",
    ),
    ((*TRAIN, "--config.train.keep=0"), "config.train.keep = 0 must be an integer of at least 1"),
]


@pytest.mark.parametrize(("argv", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_is_one_line_and_exit_code_2(argv, message, points, tmp_path, capsys):
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    (tmp_path / "orphan" / "checkpoints").mkdir(parents=True)
    (tmp_path / "dir.npz").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "checkpoints").write_text("a file")
    before = sorted(tmp_path.rglob("*"))
    assert run(*(part.format(points=points, tmp=tmp_path) for part in argv)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert message.format(points=points) in err
    assert sorted(tmp_path.rglob("*")) == before


def test_divergence_is_one_line_and_exit_code_1(tmp_path, capsys):
    assert run(FAR, f"--workdir={tmp_path}", *TINY, "--config.optimizer.learning_rate=1e38") == 1
    err = capsys.readouterr().err
    assert "error: training diverged: " in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_killed_run_goes_on_and_ends_the_same(points, tmp_path):
    """A real process, SIGKILL, the same command again: the parameters of a run that was never killed."""
    more = [flag for flag in TINY if "train.num_steps" not in flag]
    command = [FAR, f"--workdir={tmp_path}", *more, "--config.train.num_steps=60", "--config.train.sample_every=1000"]
    root = os.path.dirname(os.path.abspath(main.__file__))
    # One device, as here: more round differently.
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    process = subprocess.Popen(
        [sys.executable, "main.py", *command], cwd=root, env=environment, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120

    def finished_checkpoints():
        return [*(tmp_path / "checkpoints").glob("*/manifest.json")]

    while not finished_checkpoints() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with checkpoint.Checkpoints(tmp_path) as checkpoints:
        assert 2 <= checkpoints.latest_step() < 60
    assert run(*command) == 0
    expected = tmp_path / "expected"
    assert run(*(flag.replace(f"--workdir={tmp_path}", f"--workdir={expected}") for flag in command)) == 0
    states = []
    for workdir in (tmp_path, expected):
        with checkpoint.Checkpoints(workdir) as checkpoints:
            states.append(checkpoints.restore(60, sampling.abstract_state(fdrl_jax.load(workdir).experiment)))
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert (tmp_path / "metrics.jsonl").read_text() == (expected / "metrics.jsonl").read_text()
