"""Loading the model of a run: its checkpoints, and arguments that are not valid for it.

The other sources of models are in `test_authors_model.py` and `test_exported_model.py`.
"""

import json

import jax
import numpy as np
import pytest
import shrink

import fdrl_jax
from fdrl_jax.types import InputError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four steps with checkpoints 2 and 4, and one of them kept as the best."""
    workdir = tmp_path_factory.mktemp("trained")
    config = shrink.tiny_points()
    config.diagnostics.best = "sliced_wasserstein"
    shrink.trained(config, workdir)
    return workdir


def test_the_newest_checkpoint_is_the_default(trained):
    assert fdrl_jax.load(trained).step == 4
    assert fdrl_jax.load(trained, step=2).step == 2


def test_the_best_checkpoint_is_the_one_that_best_json_names(trained):
    best = json.loads((trained / "best.json").read_text())
    model = fdrl_jax.load(str(trained), step="best")
    assert model.step == best["step"]
    same = fdrl_jax.load(trained, step=best["step"])
    jax.tree.map(np.testing.assert_array_equal, model.params, same.params)


def test_a_negative_step_is_refused(trained):
    with pytest.raises(InputError, match="step = -1 must be an integer of at least 0"):
        fdrl_jax.load(trained, step=-1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, r"none holds no training run \(no config.json in it\): train one there first"),
        ("other", {"seed": 0}, r"other/config\.json: config\.\w+ is missing"),
        ("exported", {"format": 1, "fdrl_jax": "1", "config": {}}, "its model.safetensors is missing: copy the folder"),
    ],
)
def test_a_folder_without_a_run_is_refused(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        fdrl_jax.load(tmp_path / name)


def test_a_step_that_was_not_kept_is_refused_with_a_list_of_the_others(trained):
    with pytest.raises(InputError, match="has no checkpoint of step 3: there are 2, 4"):
        fdrl_jax.load(trained, step=3)


def test_a_run_has_its_own_prior(trained):
    with pytest.raises(InputError, match=r"prior is for a \.pt/\.pth/\.safetensors file; the run in .* has its own"):
        fdrl_jax.load(trained, prior="uniform")
