"""Names and descriptions of a run's method, for captions, reports and model cards.

Every text of the figures and reports that depends on the method is made here: a new method gets its words in this
module and nowhere else.
"""

from collections.abc import Mapping
from typing import Any

from fdrl_jax.experiment.builders import Experiment
from fdrl_jax.experiment.builders import dataset_name as dataset_name
from fdrl_jax.experiment.model import Model

_LOSSES = {"lsif": "LSIF", "lr": "LR", "kliep": "KLIEP"}
_DIVERGENCES = {"chi2": "χ²", "kl": "KL", "js": "JS", "logd": "logD", "jeffrey": "Jeffrey"}
_PRIORS = {"ddp": "DDP", "uniform": "UP", "normal": "normal prior", "dataset": "image-to-image"}

# --- Names ---


def short_method_name(experiment: Experiment) -> str:
    """Return the loss and the divergence as the paper writes them: "LSIF-χ²"."""
    config = experiment.config
    return f"{_LOSSES[config['loss']]}-{_DIVERGENCES[config['divergence']]}"


def method_name(experiment: Experiment) -> str:
    """Return the method as Table 1 of the paper writes it: "FDRL-DDP (LSIF-χ²)"."""
    kind = "FDRL" if experiment.config["flow"]["guided"] else "stale"
    return f"{kind}-{_PRIORS[experiment.config['prior']['name']]} ({short_method_name(experiment)})"


def provenance(model: Model, seed: int | None = None) -> str:
    """Return what a figure was made from: "digits, FDRL-DDP (LSIF-χ²), training step 2,000, seed 0"."""
    parts = [dataset_name(model.experiment), method_name(model.experiment), f"training step {model.step:,}"]
    return ", ".join(parts + ([] if seed is None else [f"seed {seed}"]))


def is_translation(experiment: Experiment) -> bool:
    """Return True if samples start from images of a source domain: a translation between two sets of images."""
    return experiment.config["prior"]["name"] == "dataset"


# --- Descriptions for captions: phrases without a full stop ---


def sampling_procedure(experiment: Experiment) -> str:
    """Return how a sample is drawn: "flow of 12 steps"."""
    return f"flow of {experiment.flow_length()} steps"


def training_flow(experiment: Experiment) -> str:
    """Return where the ratio was trained, and the settings of the flow in training."""
    flow = experiment.config["flow"]
    where = "on flowed samples (FDRL)" if flow["guided"] else "on the prior's draws alone (stale)"
    settings = f"K = {flow['num_steps']}, η = {flow['step_size']:g}, ν = {flow['noise']:g}"
    return f"the ratio was trained {where}, with {settings}"


def refinement(experiment: Experiment) -> str:
    """Return the number of flow steps in training, and the number of refinement steps that sampling adds."""
    flow = experiment.config["flow"]
    return f"Trained with K = {flow['num_steps']}; the steps after that are refinement (κ = {flow['kappa']})"


def flow_lengths(experiment: Experiment) -> dict[int, str]:
    """Return the numbers of flow steps in training and, if it differs, in sampling, each with its name."""
    trained, sampled = experiment.config["flow"]["num_steps"], experiment.flow_length()
    lengths = {trained: f"K = {trained}, as trained"}
    if sampled != trained:
        lengths[sampled] = f"K + κ = {sampled}, as sampled"
    return lengths


def interpolation(experiment: Experiment) -> str:
    """Return what changes along a row of interpolated samples."""
    return (
        "Between the two ends of a row the start of the flow moves along an arc of the whitened prior; the flow's "
        "noise is the same for the whole row"
    )


# --- Descriptions for reports, which read the config of a run without building its experiment ---

_METRIC_TITLES = {
    "loss": "Loss",
    "ratio": "Density ratio r, mean over a batch",
    "ratio_data": "r on data",
    "ratio_flow": "r on flowed samples",
    "grad_norm": "Gradient norm",
    "max_flow": "Largest |x| of flowed samples",
    "learning_rate": "Learning rate",
}

# Metrics that the plot "ratio" shows together, with their labels in its legend.
RATIO_LABELS = {"ratio_data": "data", "ratio_flow": "flowed"}


def metric_title(name: str) -> str:
    """Return the title of a training metric, which is a field of metrics.jsonl; by default its name."""
    return _METRIC_TITLES.get(name, name.replace("_", " "))


def loss_of_config(config: Mapping[str, Any]) -> str:
    """Return the name of the training loss. Losses of two runs can be compared only if these names are equal."""
    return str(config.get("loss"))


def config_summary(config: Mapping[str, Any]) -> str:
    """Return the method of a config in a few words, such as "lsif / chi2 · ddp prior".

    Args:
      config: the config of a run as config.json holds it. Fields may be missing: a report shows every run.
    """
    prior = config.get("prior")
    prior_name = str(prior.get("name", "")) if isinstance(prior, dict) else ""
    parts = [" / ".join(str(config[name]) for name in ("loss", "divergence") if name in config)]
    parts += [f"{prior_name} prior" if prior_name else ""]
    return " · ".join(filter(None, parts))
