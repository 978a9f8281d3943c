"""Names of methods, data sets and runs in captions and reports.

Covers: `naming`.
"""

import dataclasses

import pytest
import shrink

import fdrl_jax
from configs import digits, gaussians
from fdrl_jax import priors
from fdrl_jax.experiment import builders, naming


@pytest.fixture(scope="module")
def experiment():
    return builders.build(digits.get_config())


def test_a_caption_names_the_data_the_method_the_step_and_the_seed(experiment):
    model = fdrl_jax.Model(experiment, {}, priors.Uniform((8, 8, 1)), step=2000)
    assert naming.provenance(model, 3) == "digits, FDRL-DDP (LSIF-χ²), training step 2,000, seed 3"


def test_a_method_is_named_by_its_prior_its_loss_and_its_divergence(experiment):
    assert naming.short_method_name(experiment) == "LSIF-χ²"
    assert naming.method_name(experiment) == "FDRL-DDP (LSIF-χ²)"
    assert naming.method_name(builders.build(shrink.tiny_points())) == "FDRL-normal prior (LR-KL)"
    stale = builders.build(gaussians.get_config("far-stale"))
    assert naming.method_name(stale) == "stale-normal prior (LR-KL)"
    assert "on the prior's draws alone (stale)" in naming.training_flow(stale)


def test_data_of_a_mere_format_are_named_by_their_folder(experiment):
    experiment = dataclasses.replace(experiment, config={"data": {"name": "folder", "path": "a/shoes/"}})
    assert naming.dataset_name(experiment) == "shoes"


@pytest.mark.parametrize(
    ("kappa", "names"), [(2, ["K = 3, as trained", "K + κ = 5, as sampled"]), (0, ["K = 3, as trained"])]
)
def test_the_flow_length_of_sampling_is_named_only_if_it_differs(kappa, names):
    config = shrink.tiny_points()
    config.flow.kappa = kappa
    assert list(naming.flow_lengths(builders.build(config)).values()) == names


def test_an_unknown_metric_keeps_its_name():
    assert naming.metric_title("grad_norm") == "Gradient norm"
    assert naming.metric_title("pool_spread") == "pool spread"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"loss": "lsif", "divergence": "chi2", "prior": {"name": "ddp"}}, "lsif / chi2 · ddp prior"),
        ({"loss": "lsif", "prior": "ddp"}, "lsif"),
        ({"prior": {"name": "ddp"}}, "ddp prior"),
        ({}, ""),
    ],
)
def test_a_config_is_summarised_by_the_fields_that_it_has(config, text):
    assert naming.config_summary(config) == text
