"""Give a case to the PyTorch process, and compare its results with those of fdrl_jax.

This module runs on the side of fdrl_jax; the others of this package import neither JAX nor fdrl_jax.
"""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from benchmarks.common.cases import Case, fdrl
from benchmarks.speed.timed_calls import TimedCalls, settled_state
from fdrl_jax import models
from fdrl_jax.methods.train_state import TrainState
from fdrl_jax.models import convert


def results(calls: TimedCalls) -> dict[str, np.ndarray]:
    """Return what `server.Server.compare` writes, under the names of PyTorch's entries.

    These are, without noise: "x", the particles after the flow; after one training step the "loss", Adam's first
    moments ("moments/...") and the moving average of the parameters ("average/...").
    """
    noiseless = TimedCalls(calls.case.noiseless())
    noiseless.root = calls.root
    # As in PyTorch's forms, the flow uses the initial vectors of the spectral norm; the training step advances them.
    arrays = {"x": np.asarray(noiseless.flow())}
    metrics = noiseless.train_step()
    adam = next(s for s in jax.tree.leaves(noiseless.state.opt_state, is_leaf=_is_adam) if _is_adam(s))
    for group, tree in (("moments", adam.mu), ("average", noiseless.state.ema_params)):
        entries = torch_state(calls.case, dataclasses.replace(noiseless.state, params=tree))
        arrays |= {
            f"{group}/{name.replace('weight_orig', 'weight')}": value
            for name, value in entries.items()
            if not name.endswith(("_u", "_v"))
        }
    return {"loss": np.asarray(metrics["loss"]), **arrays}


def write_case(case: Case, path: pathlib.Path, compiled: bool) -> dict[str, Any]:
    """Write weights and inputs to the .npz `path`, and return the arguments of `server.Server.case`.

    Args:
      case: the network and its inputs.
      path: the file to write.
      compiled: use torch.compile in the strong form.
    """
    state = settled_state(case)
    arrays = {f"state/{name}": value for name, value in torch_state(case, state).items()}
    np.savez(path, batch=case.batch(), x=np.asarray(case.particles()), **arrays)  # type: ignore[arg-type]
    config, recipe = case.experiment.config, fdrl(case.experiment).recipe
    return {
        "arrays": str(path),
        "compiled": compiled,
        "model": case.model,
        "event_shape": case.event_shape,
        "spectral_norm": case.model.get("spectral_norm", False),
        "num_steps": recipe.num_steps,
        "step_size": recipe.step_size,
        "noise": recipe.noise,
        "sigma": recipe.dequantize_sigma,
        "ema_decay": recipe.ema_decay,
        **{name: config["optimizer"][name] for name in ("learning_rate", "b1", "b2")},
    }


def largest_difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], start: np.ndarray) -> float:
    """Return the largest relative difference of all arrays.

    The difference of an array is divided by its largest entry, except that of the particles "x", which is divided by
    the largest distance that an entry moved from `start`.

    Raises:
      ValueError: the two sides have arrays of different names.
    """
    if ours.keys() != theirs.keys():
        raise ValueError(f"arrays that only one side has: {sorted(ours.keys() ^ theirs.keys())}")
    worst = 0.0
    for name, value in ours.items():
        scale = np.abs(value - start).max() if name == "x" else np.abs(value).max()
        worst = max(worst, float(np.abs(value - theirs[name]).max() / scale))
    return worst


def torch_state(case: Case, state: TrainState) -> dict[str, np.ndarray]:
    """Return the parameters of `state` as a state_dict of `networks.network`."""
    model = case.model
    if model["name"] == "mlp":
        names = [*(f"Dense_{i}" for i in range(len(model["width"]))), "head"]
        kinds = (("weight", "kernel"), ("bias", "bias"))
        params = {
            f"net.{2 * i}.{theirs}": np.asarray(state.params[name][ours]).T
            for i, name in enumerate(names)
            for theirs, ours in kinds
        }
        return {name: np.ascontiguousarray(value) for name, value in params.items()}
    stages = tuple(models.Stage(*stage) for stage in model["stages"])
    architecture = convert.Architecture(
        model["stem"],
        stages,
        model["attention"],
        model["spectral_norm"],
        case.event_shape,  # type: ignore[arg-type]
    )
    return convert.to_torch_state_dict(convert.Network(architecture, state.params, state.spectral))


def _is_adam(x: Any) -> bool:
    return hasattr(x, "mu")
