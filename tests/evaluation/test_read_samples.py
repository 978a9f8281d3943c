"""Samples to evaluate from arrays, .npz files and folders of PNG files.

Covers: `protocols.read_samples`.
"""

import pathlib

import numpy as np
from PIL import Image

import fdrl_jax
from fdrl_jax import cli
from fdrl_jax.evaluation import protocols
from fdrl_jax.utils.pixel_scaling import to_float, to_uint8


def test_given_samples_in_every_form_give_one_number(model, tmp_path):
    samples = fdrl_jax.sample(model, 0, 20, progress=False)
    np.savez(tmp_path / "samples.npz", samples=samples)
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, image in enumerate(to_uint8(samples)):
        Image.fromarray(image[..., 0]).save(folder / f"{i:03d}.png")
    forms = [None, samples, to_uint8(samples), tmp_path / "samples.npz", folder]
    values = [
        protocols.evaluate(
            model, protocols.parse("frechet"), num_samples=20, samples=form, replicates=2, progress=False
        )[0].value
        for form in forms
    ]
    assert values == [values[0]] * len(forms)


def test_samples_in_a_folder_are_png_files_of_the_rounded_samples(digits_run, tmp_path, capsys):
    out = f"{tmp_path}/folder/"
    flags = (f"--workdir={digits_run}", "--num_samples=30", "--seed=2")
    assert cli.run(["main.py", "--mode=sample", *flags, f"--out={out}", "--batch_size=16"]) == 0
    files = sorted(pathlib.Path(out).iterdir())
    assert [file.name for file in files] == [f"{i:06d}.png" for i in range(30)]
    expected = fdrl_jax.sample(fdrl_jax.load(digits_run), 2, 30, progress=False)
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(f)) for f in files]), to_uint8(expected)[..., 0])
    assert np.abs(to_float(to_uint8(expected)) - expected).max() < 1 / 255 + 1e-6
    assert cli.run(["main.py", "--mode=sample", *flags, f"--out={out}"]) == 2
    assert "is there already: name a new folder, or an empty one" in capsys.readouterr().err
