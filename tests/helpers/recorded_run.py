"""Lines of a run's evaluation and diagnostics, and a run with every kind of file that a record has."""

import json

from PIL import Image

EDGES = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]


def evaluation(metric="frechet", value=22.3, **changes):
    """Return a line of evaluation.jsonl."""
    record = {
        "metric": metric,
        "features": "pixels",
        "name": "",
        "protocol": "pixels in 0..255, flattened",
        "value": value,
        "interval": [value - 0.4, value + 0.5],
        "confidence": 0.95,
        "num_samples": 1024,
        "num_reference": 1797,
        "reference": "training images of digits",
        "seed": 0,
        "step": 4,
        "ema": True,
        "flow_steps": 12,
        "warnings": [],
        "versions": {"fdrl_jax": "0.1.0", "jax": "0.10.2", "python": "3.11.7"},
        "device": "cpu",
        "date": "2026-11-22",
        "seconds": 12.3,
    }
    return record | changes


def diagnostics(step, **changes):
    """Return a line of diagnostics.jsonl."""
    record = {
        "step": step,
        "reference": "held-out images",
        "metrics": {"precision": step / 10, "frechet_pixels": 100.0 - step},
        "flow": {"steps": [0, 1, 2], "kl": [1.5, 0.5, None], "displacement": [0.0, 0.9, 0.3]},
        "histogram": {"edges": EDGES, "data": [0, 1, 5, 3, 0, 0], "flowed": [0, 1, 4, 4, 1, 0], "prior": [0] * 6},
        "seconds": 1.2,
    }
    return record | changes


def write_lines(path, *records):
    """Write a .jsonl file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_config(workdir, config):
    """Replace the config of a run, and remove the manifests, which would say that it was changed."""
    for path in workdir.rglob("manifest.json"):
        path.unlink()
    (workdir / "config.json").write_text(json.dumps(config))


def complete(workdir):
    """Add evaluations, diagnostics, a best checkpoint, a figure and an animation to a run of four steps."""
    warning = "1,024 samples: the distance is biased upwards"
    precision = evaluation("precision", 0.9123, features="lite0")
    write_lines(workdir / "evaluation.jsonl", evaluation(warnings=[warning]), precision)
    write_lines(workdir / "diagnostics.jsonl", *map(diagnostics, (1, 2, 3, 4)))
    write_lines(workdir / "best.json", {"step": 4, "metric": "frechet_pixels", "value": 96.0})
    figures = workdir / "figures"
    figures.mkdir()
    Image.new("RGB", (1500, 300), "red").save(figures / "fig4.png")
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("white", "black")]
    frames[0].save(figures / "flow_animation.gif", save_all=True, append_images=frames[1:], duration=50)
    return workdir
