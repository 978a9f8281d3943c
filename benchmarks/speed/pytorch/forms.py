"""Training and sampling in PyTorch, in the two forms that `python -m benchmarks` compares with.

`Authors` follows the authors' code: eager and float32, torch's spectral norm with a power iteration in every forward
pass, K calls of torch.autograd.grad, Adam, and EMA parameter by parameter. `Strong` is as fast as we could make it: it
computes the same result with torch.compile for a flow step and for the loss, memory format channels_last, one power
iteration and one division of the weights a training step, fused Adam, grouped EMA, and bfloat16 on request. Imports
neither JAX nor fdrl_jax.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad
from torch.nn import functional

from benchmarks.speed.pytorch.networks import network

Weights = dict[str, torch.Tensor]


class Authors:
    """The flow and one training step, as the authors' code computes them.

    Attributes:
      frozen: make one power iteration of the spectral norm a training step, as fdrl_jax does, instead of one in every
        forward pass. Only so can results be compared with ours.
    """

    def __init__(self, case: dict[str, Any], state: Weights, device: str) -> None:
        self.case, self.frozen = case, False
        self.net = network(case["model"], case["event_shape"], case["spectral_norm"]).to(device)
        self.net.load_state_dict(state)
        self.average = copy.deepcopy({name: p.detach() for name, p in self.net.named_parameters()})
        self.optimizer = torch.optim.Adam(self.net.parameters(), case["learning_rate"], (case["b1"], case["b2"]))

    def flow(self, x: torch.Tensor, num_steps: int, noise: float) -> torch.Tensor:
        self.net.train(not self.frozen)
        for _ in range(num_steps):
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad((2 * self.net(x)).sum(), x)
            x = x - self.case["step_size"] * gradient + noise * torch.randn_like(x)
        return x.detach()

    def train_step(self, batch: torch.Tensor, x: torch.Tensor, num_steps: int, noise: float, sigma: float) -> float:
        """Make one training step and return the loss.

        Args:
          batch: data, uint8 images [batch, channels, h, w] or float32 points [batch, d].
          x: initial particles.
          num_steps: number of flow steps K.
          noise: standard deviation of the noise in a flow step.
          sigma: standard deviation of the noise on the data.
        """
        x_p = to_float(batch)
        x_p = x_p + sigma * torch.randn_like(x_p)
        if self.frozen:
            with torch.no_grad():
                self.net.train()
                self.net(x_p[:1])
        x_q = self.flow(x, num_steps, noise)
        loss = (0.5 * self.net(x_p) ** 2).mean() - self.net(x_q).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        decay = self.case["ema_decay"]
        for name, p in self.net.named_parameters():
            self.average[name].mul_(decay).add_(p.detach(), alpha=1 - decay)
        return loss.item()

    def moments(self) -> Weights:
        """Return Adam's first moments by entry name."""
        return {name: self.optimizer.state[p]["exp_avg"] for name, p in self.net.named_parameters()}


class Strong:
    """The flow and one training step, as fast as PyTorch allows without custom kernels.

    Args:
      case: the network and the settings of training.
      state: weights as a state_dict, with the vectors of the spectral norm.
      device: "cpu" or "cuda".
      half: use autocast to bfloat16.
      compiler: torch.compile, or a function that returns its argument.
    """

    def __init__(
        self, case: dict[str, Any], state: Weights, device: str, half: bool, compiler: Callable[..., Any]
    ) -> None:
        self.case, self.half, self.device = case, half, device
        self.net = network(case["model"], case["event_shape"], False).to(device, memory_format=torch.channels_last)
        self.vectors = {n: t.clone().to(device) for n, t in state.items() if n.endswith(("weight_u", "weight_v"))}
        self.params = {
            name.replace("weight_orig", "weight"): nn.Parameter(self._channels_last(t.clone().to(device)))
            for name, t in state.items()
            if name not in self.vectors
        }
        self.average = {name: p.detach().clone() for name, p in self.params.items()}
        settings = {"lr": case["learning_rate"], "betas": (case["b1"], case["b2"]), "fused": True}
        self.optimizer = torch.optim.Adam(self.params.values(), **settings)
        self._step, self._loss = compiler(self._flow_step), compiler(self._loss_of)

    @staticmethod
    def _channels_last(x: torch.Tensor) -> torch.Tensor:
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

    def _apply(self, weights: Weights, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            return functional_call(self.net, weights, (x,)).float()

    def _effective(self, weights: Weights) -> Weights:
        def normalised(name: str, w: torch.Tensor) -> torch.Tensor:
            u, v = self.vectors.get(f"{name}_u"), self.vectors.get(f"{name}_v")
            return w if u is None else w / torch.dot(u, w.flatten(1) @ v)

        return {name: normalised(name, w) for name, w in weights.items()}

    def _advance_vectors(self) -> None:
        for name, w in self.params.items():
            if f"{name}_u" in self.vectors:
                matrix = w.detach().flatten(1)
                v = functional.normalize(matrix.T @ self.vectors[f"{name}_u"], dim=0, eps=1e-12)
                self.vectors[f"{name}_v"] = v
                self.vectors[f"{name}_u"] = functional.normalize(matrix @ v, dim=0, eps=1e-12)

    def _flow_step(self, weights: Weights, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        gradient = grad(lambda x: (2 * self._apply(weights, x)).sum())(x)
        return x - self.case["step_size"] * gradient + noise * torch.randn_like(x)

    def _loss_of(self, weights: Weights, x_p: torch.Tensor, x_q: torch.Tensor) -> torch.Tensor:
        return (0.5 * self._apply(weights, x_p) ** 2).mean() - self._apply(weights, x_q).mean()

    def flow(self, x: torch.Tensor, num_steps: int, noise: float) -> torch.Tensor:
        with torch.no_grad():
            weights = {name: w.detach() for name, w in self._effective(self.params).items()}
            if self.half:  # Converted once; autocast would convert them in every step.
                weights = {name: w.bfloat16() for name, w in weights.items()}
            # A tensor, because torch.compile would compile again for every other value of a float.
            x, scale = self._channels_last(x), torch.tensor(noise, device=x.device)
            for _ in range(num_steps):
                x = self._step(weights, x, scale)
        return x

    def train_step(self, batch: torch.Tensor, x: torch.Tensor, num_steps: int, noise: float, sigma: float) -> float:
        """Make one training step and return the loss; the arguments are those of `Authors.train_step`."""
        x_p = self._channels_last(to_float(batch))
        x_p = x_p + sigma * torch.randn_like(x_p)
        self._advance_vectors()
        x_q = self.flow(x, num_steps, noise)
        self.optimizer.zero_grad()
        loss = self._loss(self._effective(self.params), x_p, x_q)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.params.values()), 1 - self.case["ema_decay"])
        return loss.item()

    def moments(self) -> Weights:
        """Return Adam's first moments by entry name."""
        return {name: self.optimizer.state[p]["exp_avg"] for name, p in self.params.items()}


def to_float(batch: torch.Tensor) -> torch.Tensor:
    """Scale uint8 images to float32 in [-1, 1]; points are returned as they are."""
    return batch.float() / 127.5 - 1 if batch.dtype == torch.uint8 else batch
