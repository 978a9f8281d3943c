"""The measured networks are those of the configs.

Covers: `common.cases`.
"""

from benchmarks.common import cases


def test_cases_have_the_networks_of_the_configs():
    for name, make in cases.CONFIGS.items():
        case, config = cases.case(name, cases.CPU[name]), make()
        assert case.model.get("spectral_norm") == config.model.get("spectral_norm")
        assert (config.loss, config.divergence) == ("lsif", "chi2")  # the only ones that the PyTorch code knows
        assert case.batch().shape == case.particles().shape == (cases.CPU[name].batch_size, *case.event_shape)
