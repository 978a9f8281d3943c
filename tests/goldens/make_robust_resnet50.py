"""Make robust_resnet50.npz: what a PyTorch ResNet-50 of the robustness library's form makes of weights from a formula.

    pip install torch==2.13.0 dill==0.4.1 numpy
    python tests/goldens/make_robust_resnet50.py

The library itself (https://github.com/MadryLab/robustness) no longer installs beside a present PyTorch. Its form, for
CIFAR-10: InputNormalize; a 3x3 stem of 64 channels, no pooling; 3, 4, 6, 3 bottleneck blocks with the stride in the 3x3
convolution; mean over 4x4; linear. Weights and images are not stored: robust_resnet50_inputs.py computes them. And
robustness.pt, robustness_legacy.pt: a few tensors saved as the library saves a checkpoint, with dill and what else it
puts there, a function with its code among them.
"""

import json
import pathlib
import types

import dill
import numpy as np
import robust_resnet50_inputs as inputs
import torch
from torch import nn
from torch.nn import functional

OUTPUT = pathlib.Path(__file__).parent / "robust_resnet50.npz"


class Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        changes = stride != 1 or channels != out
        parts = [nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)] if changes else []
        self.shortcut = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = functional.relu(self.bn1(self.conv1(x)))
        h = functional.relu(self.bn2(self.conv2(h)))
        return functional.relu(self.bn3(self.conv3(h)) + self.shortcut(x))


class ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for i, (count, width, stride) in enumerate(((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)), 1):
            blocks = []
            for j in range(count):
                blocks.append(Block(channels, width, stride if j == 0 else 1))
                channels = 4 * width
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
        self.linear = nn.Linear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        for i in (1, 2, 3, 4):
            x = getattr(self, f"layer{i}")(x)
        return self.linear(functional.avg_pool2d(x, 4).flatten(1))


class Decay:
    """A learning rate by epoch, as a function that dill writes with its code."""

    def __init__(self) -> None:
        self.function = lambda epoch: 0.1 ** (epoch // 50)

    def __call__(self, epoch: int) -> float:
        return self.function(epoch)


def write_checkpoint(path: pathlib.Path, new: bool) -> None:
    """What robustness.train saves at an epoch's end, of a network of one layer; in the format since 1.6, or before."""
    network = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape))
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, Decay())
    checkpoint = {
        "model": nn.DataParallel(network).state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": {**schedule.state_dict(), "lr_lambdas": [Decay()], "kinds": [types.CodeType, dict]},
        "epoch": 150,
        "amp": None,
        "nat_prec1": torch.tensor(81.6),
        "adv_prec1": torch.tensor(60.1),
    }
    torch.save(checkpoint, path, pickle_module=dill, _use_new_zipfile_serialization=new)


def main() -> None:
    network = ResNet50().eval()
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    network.load_state_dict({k: torch.from_numpy(v) for k, v in inputs.state_dict(shapes).items()}, strict=False)
    x = torch.from_numpy(np.ascontiguousarray(inputs.images().transpose(0, 3, 1, 2))).requires_grad_()
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)))
    logits = network(((x + 1) / 2 - mean) / deviation)
    # In float64: in float32 activations within rounding of zero change sides.
    x64 = x.detach().double().requires_grad_()
    log_probs = functional.log_softmax(network.double()(((x64 + 1) / 2 - mean) / deviation), dim=1)
    log_probs[:, 3].sum().backward()
    gradient = x64.grad.numpy().transpose(0, 2, 3, 1)
    versions = {module.__name__: module.__version__ for module in (torch, dill, np)}
    np.savez_compressed(
        OUTPUT,
        versions=json.dumps(versions),
        names=np.array(list(shapes)),
        logits=logits.detach().numpy(),
        gradient=gradient.astype(np.float64),
    )
    write_checkpoint(OUTPUT.with_name("robustness.pt"), new=True)
    write_checkpoint(OUTPUT.with_name("robustness_legacy.pt"), new=False)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes, logits up to {logits.abs().max():.2f}, {versions}")


if __name__ == "__main__":
    main()
