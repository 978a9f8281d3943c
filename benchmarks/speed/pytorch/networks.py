"""The networks in PyTorch, with the entry names of the authors' checkpoints.

They are trained by LSIF with Pearson's chi2: the output is r, f' = 2 r and the loss E_p[r^2] / 2 - E_q[r]. Imports
neither JAX nor fdrl_jax.
"""

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import spectral_norm


class MLP(nn.Module):
    """A multilayer perceptron, points [batch, d] -> [batch]."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        rows: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            rows += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*rows[:-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)[:, 0]


class Block(nn.Module):
    """A residual block of two 3x3 convolutions, the first with `stride`."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut_conv: nn.Module = nn.Identity()
        if stride != 1 or inputs != width:
            self.shortcut_conv = nn.Conv2d(inputs, width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(functional.leaky_relu(self.conv1(x), 0.2))
        return functional.leaky_relu(h + self.shortcut_conv(x), 0.2)


class ResNet(nn.Module):
    """A residual network, images [batch, channels, h, w] -> [batch].

    Args:
      channels: channels of the images.
      stem: channels after the first convolution.
      stages: (channels, number of blocks, stride of the first block) of each stage.
    """

    def __init__(self, channels: int, stem: int, stages: list[list[int]]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        self.depth = len(stages)
        for i, (width, blocks, stride) in enumerate(stages):
            rows = [Block(stem if j == 0 else width, width, stride if j == 0 else 1) for j in range(blocks)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*rows))
            stem = width
        self.linear = nn.Linear(stem, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.leaky_relu(self.conv1(x), 0.2)
        for i in range(self.depth):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.linear(x.mean(dim=(2, 3)))[:, 0]


def network(model: dict[str, Any], event_shape: list[int], normalised: bool) -> nn.Module:
    """Return the network of config.model.

    Args:
      model: the entries of config.model.
      event_shape: shape of one example, channels last.
      normalised: apply torch.nn.utils.spectral_norm to every convolution and dense layer of a residual network.
    """
    if model["name"] == "mlp":
        return MLP([event_shape[0], *model["width"], 1])
    net = ResNet(event_shape[-1], model["stem"], model["stages"])
    if normalised:
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                spectral_norm(module)
    return net
