"""The PyTorch process of `python -m benchmarks`, which answers requests on its standard input.

Each request is a line of JSON with the name of a method of `Server` in "do", and the method's arguments. The answer is
a line of JSON on standard output. The process imports PyTorch and numpy, and neither JAX nor fdrl_jax: so its
environment needs nothing else, and the two libraries share no threads. `benchmarks.speed.pytorch.process` starts it.
"""

import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.speed.pytorch.forms import Authors, Strong


class Images(Dataset[torch.Tensor]):
    """The images of the data pipeline, each float32 [channels, h, w] in [-1, 1] and flipped with probability 1/2."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = torch.from_numpy(self.images[index].copy()).permute(2, 0, 1).float() / 127.5 - 1
        return image.flip(2) if torch.rand(()) < 0.5 else image


class Server:
    """The methods that a request can name; they work on one case at a time."""

    def __init__(self) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def about(self) -> dict[str, Any]:
        """Return PyTorch's version, its number of threads, and the device."""
        return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": self.device}

    def case(self, arrays: str, compiled: bool, **case: Any) -> dict[str, Any]:
        """Load a case.

        Args:
          arrays: a .npz with the weights under "state/", the data "batch" (uint8 images or float32 points) and the
            initial particles "x"; images are [batch, h, w, channels].
          compiled: use torch.compile in the strong form.
          **case: the network and the settings of training, as `exchange.write_case` returns them.
        """
        self._case = case
        with np.load(arrays) as file:
            self._state = {n.removeprefix("state/"): torch.tensor(file[n]) for n in file.files if n.startswith("state")}
            self._batch, self._x = (self._to_device(torch.tensor(file[name])) for name in ("batch", "x"))
        self._compiler: Callable[..., Any] = torch.compile if compiled else lambda function: function
        self._forms: dict[str, Authors | Strong] = {}
        return {}

    def _to_device(self, x: torch.Tensor) -> torch.Tensor:
        """Put a batch on the device, images as [batch, channels, h, w]."""
        return (x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x).to(self.device)

    def _form(self, name: str) -> Authors | Strong:
        if name not in self._forms:
            self._forms[name] = self._new(name)
        return self._forms[name]

    def _new(self, name: str) -> Authors | Strong:
        if name == "authors":
            return Authors(self._case, self._state, self.device)
        return Strong(self._case, self._state, self.device, name.endswith("bf16"), self._compiler)

    def compare(self, form: str, out: str) -> dict[str, Any]:
        """Write results without noise to the .npz `out`.

        These are the particles "x" after the flow, and after one training step the "loss", Adam's first moments
        ("moments/...") and the moving average of the parameters ("average/...").
        """
        made = self._forms[form] = self._new(form)
        if isinstance(made, Authors):
            made.frozen = True
        k = self._case["num_steps"]
        x = made.flow(self._x, k, 0.0)
        loss = made.train_step(self._batch, self._x, k, 0.0, 0.0)
        arrays = {"x": x.movedim(1, -1) if x.ndim == 4 else x}
        for group, tree in (("moments", made.moments()), ("average", made.average)):
            arrays |= {f"{group}/{name.replace('weight_orig', 'weight')}": t for name, t in tree.items()}
        np.savez(out, loss=loss, **{name: t.detach().float().cpu().numpy() for name, t in arrays.items()})
        return {}

    def time(self, form: str, row: str) -> dict[str, Any]:
        """Return the seconds of one run of a row."""
        made, k, noise = self._form(form), self._case["num_steps"], self._case["noise"]
        if isinstance(made, Authors):
            made.frozen = False

        def sampling() -> None:
            start = torch.randn_like(self._x) if self._x.ndim == 2 else 2 * torch.rand_like(self._x) - 1
            made.flow(start, k, noise).clamp(-1, 1).cpu()

        runs: dict[str, Callable[[], object]] = {
            "flow step": lambda: made.flow(self._x, k, noise),
            "training step": lambda: made.train_step(self._batch, self._x, k, noise, self._case["sigma"]),
            "sampling": sampling,
        }
        return {"seconds": self._seconds(runs[row])}

    def _seconds(self, function: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        function()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def prior(self, images: str, jitter: float, draws: int) -> dict[str, Any]:
        """Time the fit of torch.distributions.MultivariateNormal to the images in a .npy, and draws from it.

        Returns:
          "fit": seconds of mean, covariance and factorisation; "draw": median seconds of three draws; "trace": trace of
          the fitted covariance.
        """
        x = torch.from_numpy(np.load(images)).flatten(1)

        def fit() -> None:
            values = x.float().to(self.device) / 127.5 - 1
            mean = values.mean(0)
            centred = values - mean
            covariance = centred.T @ centred / len(x) + jitter * torch.eye(len(mean), device=self.device)
            self._prior = torch.distributions.MultivariateNormal(mean, covariance, validate_args=False)

        fit_seconds = self._seconds(fit)
        draw_seconds = [self._seconds(lambda: self._prior.sample(torch.Size([draws])).clamp(-1, 1)) for _ in range(3)]
        factor = self._prior.scale_tril
        return {"fit": fit_seconds, "draw": sorted(draw_seconds)[1], "trace": float((factor**2).sum())}

    def data(self, images: str, seconds: float, batch_size: int) -> dict[str, Any]:
        """Return the seconds per batch of a DataLoader that loads in this process."""
        loader = DataLoader(Images(np.load(images, mmap_mode="r")), batch_size, shuffle=True, drop_last=True)
        start, count = time.perf_counter(), 0
        while True:
            for batch in loader:
                batch.to(self.device)
                count += 1
                if (elapsed := time.perf_counter() - start) >= seconds:
                    return {"seconds": elapsed / count}

    def checkpoint(self, form: str) -> dict[str, Any]:
        """Return the seconds of torch.save of parameters, optimiser state and EMA, in the form `form`."""
        made = self._form(form)
        assert isinstance(made, Authors)
        with tempfile.TemporaryDirectory() as folder:

            def save() -> None:
                state = {"model": made.net.state_dict(), "optim": made.optimizer.state_dict(), "ema": made.average}
                torch.save(state, pathlib.Path(folder) / "checkpoint.pt")

            return {"seconds": self._seconds(save)}


def main() -> None:
    # Libraries that print write to standard error, so that standard output carries answers alone.
    answers, sys.stdout = sys.stdout, sys.stderr
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
