"""The model card: README.md of an exported folder, as the Hugging Face Hub shows it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fdrl_jax.experiment.model import Model
from fdrl_jax.experiment.naming import dataset_name, method_name
from fdrl_jax.utils.version import __version__

# The task of a model in the Hub's terms, by whether it translates images.
_TASKS = {True: "image-to-image", False: "unconditional-image-generation"}


@dataclasses.dataclass(frozen=True)
class Facts:
    """The content of a card that does not come from the model itself.

    Attributes:
      title: name of the folder.
      ema: whether the parameters are averaged.
      num_parameters: number of parameters of the network.
      prior: the prior in words.
      licences: licence of each data set, by the name that the card gives it.
      evaluations: lines of evaluation.jsonl that measure these parameters.
      others: number of lines that measure other parameters or other samples.
      num_samples: number of samples in samples.png, from seed 0.
      reduced: whether the rank of the prior was reduced for the export.
    """

    title: str
    ema: bool
    num_parameters: int
    prior: str
    licences: Mapping[str, str]
    evaluations: Sequence[Mapping[str, Any]]
    others: int
    num_samples: int
    reduced: bool


def card(model: Model, facts: Facts) -> str:
    """Return the card in Markdown, with the metadata of the Hub in YAML at its top."""
    experiment, config = model.experiment, model.experiment.config
    translation = config["prior"]["name"] == "dataset"
    made = "images" if experiment.is_image else "points"
    shape = ", ".join(map(str, experiment.event_shape))
    values = "in [-1, 1]" if experiment.is_image else "of the plane"
    task = [f"pipeline_tag: {_TASKS[translation]}"] if experiment.is_image else []
    lines = [
        *("---", "library_name: fdrl_jax", *task, "tags:", "- jax", "- density-ratio-estimation", "- gradient-flow"),
        *("---", "", f"# {facts.title}", ""),
        f"{method_name(experiment)} on {dataset_name(experiment)}: a density ratio, and the flow that samples by it.",
        "Flow-Guided Density Ratio Learning, [arXiv 2303.03714](https://arxiv.org/abs/2303.03714), in fdrl_jax.",
        *("", f"![{facts.num_samples} samples](samples.png)", ""),
        f"{facts.num_samples} samples of seed 0, not selected.",
        *("", "## Use", "", "```python", "import jax", "import fdrl_jax", ""),
        'model = fdrl_jax.load("FOLDER")  # this folder; or "hf://USER/NAME", after pip install \'fdrl_jax[hub]\'',
        f"{made} = fdrl_jax.sample(model, jax.random.key(0), num_samples=64)  # float32 [64, {shape}] {values}",
        f"ratios = model.ratio_fn({made})  # r(x): near 1 where samples are as likely as data",
        *("```", "", "Nothing in the folder is run: two `.safetensors` files of numbers at most, and a JSON file.", ""),
        *("## What it is", "", "| | |", "| --- | --- |", *_rows(_description(model, facts))),
        *("", "## Metrics", "", *_metrics(facts)),
        *("", "## Licences", ""),
        *(f"- **{what[0].upper()}{what[1:]}**: {licence}." for what, licence in facts.licences.items()),
        "- **These weights**: for whoever trained them to say, within what the data's licence allows. Add it.",
        *("", "## Limits", ""),
        "Samples resemble the training data, with its gaps and biases; a small set may be copied in part.",
        _flow(config),
        "",
        f"All fields of the run's config are in `config.json`. Written by fdrl_jax {__version__} (`--mode=export`).",
    ]
    return "\n".join(lines) + "\n"


def _flow(config: Mapping[str, Any]) -> str:
    flow = config["flow"]
    return (
        f"The ratio is learnt along flows of K = {flow['num_steps']} steps from this prior: from another prior, or for "
        "many more steps, it says nothing that was trained."
    )


def _description(model: Model, facts: Facts) -> dict[str, str]:
    """Return the rows of the table "What it is": name and text."""
    config = model.experiment.config
    data, flow, optimizer = config["data"], config["flow"], config["optimizer"]
    network = config["model"]
    size = f"stages {network['stages']}" if network["name"] == "resnet" else f"layers {network['width']}"
    norm = ", spectral norm (applied to the stored weights)" if network.get("spectral_norm") else ""
    decays = f", times {optimizer['decay_factor']} at {optimizer['decay_steps']}" if optimizer["decay_steps"] else ""
    kind = f"averaged (EMA, decay {config['ema_decay']})" if facts.ema else "online, not averaged"
    return {
        "data": dataset_name(model.experiment) + (f", split {data['split']}" if "split" in data else ""),
        "network": f"{network['name']}, {size}{norm}; {facts.num_parameters:,} parameters, {kind}",
        "prior": facts.prior,
        "loss and divergence": f"{config['loss']}, {config['divergence']}",
        "flow": f"K = {flow['num_steps']} in training, {flow['kappa']} more when sampling; step size "
        f"{flow['step_size']}, noise {flow['noise']}" + ("" if flow["guided"] else "; not flowed in training (stale)"),
        "training": f"{model.step:,} steps of batches of {data['batch_size']}; Adam at {optimizer['learning_rate']}"
        f"{decays}; {config['precision']}; seed {config['seed']}",
    }


def _metrics(facts: Facts) -> list[str]:
    """Return the lines of the section "Metrics"."""
    others = f"{facts.others} results of other parameters, or of given samples, are left out." if facts.others else ""
    if not facts.evaluations:
        how = "None of these parameters: `python main.py --mode=evaluate` measures, and a new export adds them."
        return [" ".join(filter(None, [how, others]))]
    rows = ["| metric | value | interval | samples | reference | protocol |", "| --- | --- | --- | --- | --- | --- |"]
    for row in facts.evaluations:
        value, interval = row["value"], row.get("interval") or (None, None)
        bounds = " to ".join("none" if x is None else f"{x:.4g}" for x in interval)
        what = f"{row['metric']} in {row.get('features', '?')}"
        reference = f"{row.get('num_reference') or ''} {row.get('reference', '')}".strip()
        cells = [
            f"{row['name']} ({what})" if row.get("name") else what,
            "none" if value is None else f"{value:.4g}",
            f"{row.get('confidence', 0.95):.0%}: {bounds}",
            f"{row.get('num_samples', '?')}, {row.get('flow_steps', '?')} flow steps",
            reference,
            "; ".join([row.get("protocol", ""), *(f"warning: {text}" for text in row.get("warnings", ()))]),
        ]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    notes = [others] if others else []
    if facts.reduced:
        notes.append("They were measured with the run's own prior, not with the one of lower rank that is here.")
    return [*rows, *(["", " ".join(notes)] if notes else [])]


def _rows(cells: Mapping[str, str]) -> list[str]:
    """Return the lines of a Markdown table with two columns."""
    return [f"| {_cell(name)} | {_cell(value)} |" for name, value in cells.items()]


def _cell(text: str) -> str:
    """Return text on one line, with | escaped, for a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())
