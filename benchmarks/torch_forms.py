"""Two ways to train and sample in PyTorch, to compare with; imports no JAX.

`Authors` does what the authors' code does: eager, float32, torch's spectral norm with a power iteration in every
forward pass, K calls of torch.autograd.grad, Adam, EMA parameter by parameter. `Strong` is what PyTorch can do for the
same result: torch.compile over a flow step and over the loss, channels last, one power iteration and one division of
the weights a training step, fused Adam, grouped EMA, and bfloat16 where asked.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad
from torch.nn import functional

from benchmarks.torch_networks import network

Weights = dict[str, torch.Tensor]


class Authors:
    """One training step and the flow, as the authors' code computes them.

    Attributes:
      frozen: keep the vectors of the spectral norm but for one iteration a training step: the one way in which the
        authors' results and ours are comparable.
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
        """Of a uint8 batch or points; the loss."""
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
        """Adam's first moments by entry name."""
        return {name: self.optimizer.state[p]["exp_avg"] for name, p in self.net.named_parameters()}


class Strong:
    """The same results, as fast as PyTorch gives them without a kernel of one's own."""

    def __init__(
        self, case: dict[str, Any], state: Weights, device: str, half: bool, compiler: Callable[..., Any]
    ) -> None:
        self.case, self.half, self.device = case, half, device
        self.net = network(case["model"], case["event_shape"], False).to(device, memory_format=torch.channels_last)
        self.vectors = {n: t.clone().to(device) for n, t in state.items() if n.endswith(("weight_u", "weight_v"))}
        self.params = {
            name.replace("weight_orig", "weight"): nn.Parameter(self._laid_out(t.clone().to(device)))
            for name, t in state.items()
            if name not in self.vectors
        }
        self.average = {name: p.detach().clone() for name, p in self.params.items()}
        settings = {"lr": case["learning_rate"], "betas": (case["b1"], case["b2"]), "fused": True}
        self.optimizer = torch.optim.Adam(self.params.values(), **settings)
        self._step, self._loss = compiler(self._flow_step), compiler(self._loss_of)

    @staticmethod
    def _laid_out(x: torch.Tensor) -> torch.Tensor:
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
            if self.half:  # Once, rather than by autocast in every step.
                weights = {name: w.bfloat16() for name, w in weights.items()}
            x, scale = self._laid_out(x), torch.tensor(noise, device=x.device)  # A float would be compiled in.
            for _ in range(num_steps):
                x = self._step(weights, x, scale)
        return x

    def train_step(self, batch: torch.Tensor, x: torch.Tensor, num_steps: int, noise: float, sigma: float) -> float:
        x_p = self._laid_out(to_float(batch))
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
        """Adam's first moments by entry name."""
        return {name: self.optimizer.state[p]["exp_avg"] for name, p in self.params.items()}


def to_float(batch: torch.Tensor) -> torch.Tensor:
    """uint8 to [-1, 1], points as they are."""
    return batch.float() / 127.5 - 1 if batch.dtype == torch.uint8 else batch
