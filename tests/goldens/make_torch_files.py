"""Makes torch_files/: small files as the authors' code would write them, and what their networks compute.

    pip install torch==2.13.0 numpy && python make_torch_files.py

The network has the authors' structure and names: a table of stages that is not in the paper, spectral norm and
self-attention. PyTorch runs it in evaluation mode, after two training steps, so that Adam and the EMA have a say.
"""

import pathlib
import pickle

import numpy as np
import torch
from torch import nn
from torch.nn.utils import spectral_norm

OUT = pathlib.Path(__file__).parent / "torch_files"


def activation(x):
    return nn.functional.leaky_relu(x, 0.2)


class Block(nn.Module):
    def __init__(self, inputs, width, stride, norm):
        super().__init__()
        self.conv1 = norm(nn.Conv2d(inputs, width, 3, stride, 1, bias=False))
        self.conv2 = norm(nn.Conv2d(width, width, 3, 1, 1, bias=False))
        self.shortcut_conv = None
        if stride != 1 or inputs != width:
            self.shortcut_conv = norm(nn.Conv2d(inputs, width, 1, stride, bias=False))

    def forward(self, x):
        shortcut = x if self.shortcut_conv is None else self.shortcut_conv(x)
        return activation(self.conv2(activation(self.conv1(x))) + shortcut)


class SelfAttention(nn.Module):
    def __init__(self, channels, norm):
        super().__init__()
        self.key, self.query, self.value = (norm(nn.Conv2d(channels, channels // 8, 1)) for _ in range(3))
        self.self_att = norm(nn.Conv2d(channels // 8, channels, 1))
        self.gamma = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        key, query, value = (f(x).flatten(2) for f in (self.key, self.query, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        attended = (value @ weights.transpose(1, 2)).reshape(len(x), -1, *x.shape[2:])
        return self.gamma * self.self_att(attended) + x


class ResNet(nn.Module):
    def __init__(self, stem, stages, normed, attends):
        super().__init__()
        norm = spectral_norm if normed else lambda layer: layer
        self.conv1 = norm(nn.Conv2d(3, stem, 3, 1, 1, bias=False))
        self.count, width = len(stages), stem
        for i, (features, blocks, stride) in enumerate(stages, 1):
            inputs = [width] + [features] * (blocks - 1)
            strides = [stride] + [1] * (blocks - 1)
            layer = [Block(n, features, s, norm) for n, s in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{i}", nn.Sequential(*layer))
            width = features
        self.linear = norm(nn.Linear(width, 1))
        self.self_attn_module = SelfAttention(stages[1][0], norm) if attends else None

    def forward(self, x):
        x = activation(self.conv1(x))
        for i in range(1, self.count + 1):
            x = getattr(self, f"layer{i}")(x)
            if i == 2 and self.self_attn_module is not None:
                x = self.self_attn_module(x)
        return self.linear(x.mean(dim=(2, 3)))[:, 0]


def make(name, normed, attends, parallel):
    """A checkpoint after two training steps, and its outputs with the online and the averaged weights."""
    network = ResNet(4, [(4, 2, 1), (8, 1, 2)], normed, attends)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 5], 0.1)
    average = {key: value.detach().clone() for key, value in network.named_parameters()}
    x = torch.rand(3, 3, 8, 8) * 2 - 1
    for _ in range(2):
        optimizer.zero_grad()
        (network(x) ** 2).sum().backward()
        optimizer.step()
        scheduler.step()
        for key, value in network.named_parameters():
            average[key] = 0.5 * average[key] + 0.5 * value.detach()
    wrapped = nn.DataParallel(network) if parallel else network
    config = {
        "loss_function": "LSIF", "f_divergence": "Pearson", "eta": 3.0, "noise_factor": 0.01, "n_flow_steps": 100,
        "img_size": 8, "n_channels": 3, "spectral_norm": normed, "self_attn": attends, "dataset": "cifar10",
        "scheduler_steps": [1, 5], "resume": None,
    }  # fmt: skip
    checkpoint = {
        "step": 2,
        "model": wrapped.state_dict(),
        "optim": optimizer.state_dict(),
        "ema": average,
        "scheduler": scheduler.state_dict(),
        "config": config,
    }
    torch.save(checkpoint, OUT / f"{name}.pt")
    if name == "plain":
        torch.save(network.state_dict(), OUT / "state_dict.pt")
        torch.save(network.state_dict(), OUT / "state_dict_legacy.pt", _use_new_zipfile_serialization=False)
    network.eval()
    online = network(x).detach()
    network.load_state_dict(average, strict=False)
    arrays = {"x": x, "online": online, "ema": network(x).detach()}
    return {f"{name}/{key}": value.numpy() for key, value in arrays.items()}


def main():
    OUT.mkdir(exist_ok=True)
    torch.manual_seed(0)
    expected = {"torch_version": np.array(torch.__version__)}
    expected |= make("plain", normed=False, attends=False, parallel=False)
    expected |= make("full", normed=True, attends=True, parallel=True)

    # Images of 2x2x3, flattened channels first.
    images = torch.randn(50, 12) @ torch.randn(12, 12)
    covariance = torch.cov(images.T, correction=0) + 1e-4 * torch.eye(12)
    prior = torch.distributions.MultivariateNormal(images.mean(0), covariance)
    torch.save(prior, OUT / "ddp.pt")
    (OUT / "ddp.pickle").write_bytes(pickle.dumps(prior))
    expected |= {"ddp/mean": prior.loc.numpy(), "ddp/covariance": covariance.numpy()}

    base = torch.arange(24, dtype=torch.float32)
    kinds = ("float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
    views = {
        "transposed": base.reshape(4, 6).T,
        "offset": base[5:9],
        "strided": base.reshape(4, 6)[1::2, ::3],
        "shared": [base[:3], base[1:4]],
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
        "dtypes": {kind: torch.tensor([0, 1, 1]).to(getattr(torch, kind)) for kind in kinds},
        "plain": [1, -(2**40), 2.5, "text", None, True, (1, (2, 3)), {"a": []}],
        "torch": [torch.Size([2, 3]), torch.float32, torch.device("cuda", 1), torch.device("cpu")],
        "numpy": [np.float32(0.25), np.int64(-7), np.bool_(True)],
    }
    torch.save(views, OUT / "views.pt")
    torch.save(views, OUT / "views_legacy.pt", _use_new_zipfile_serialization=False)
    np.savez(OUT / "expected.npz", **expected)


if __name__ == "__main__":
    main()
