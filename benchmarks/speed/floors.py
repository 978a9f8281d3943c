"""The least work of each row: floating-point operations, and bytes to and from memory.

    python -m benchmarks.speed.floors    # prints those of the paper's loads

FLOPs are the multiplications and additions of products, without those with the zeros of a padding, counted from the
layer table: no activation functions, no random numbers, no optimiser. Bytes are those that must be read or written
once if everything else stayed on the chip. The floor of a row is the larger of the two times at the machine's measured
rates. It is a bound for direct convolutions only: a Winograd convolution multiplies less.
"""

import argparse
import itertools
import math
from typing import Any, NamedTuple

from benchmarks.common.cases import CONFIGS

FLOAT = 4  # bytes of a float32


class Layer(NamedTuple):
    """A convolution or dense layer, for one example.

    Attributes:
      macs: number of multiply-adds.
      weights: number of entries of its kernel and bias.
      inputs, outputs: number of entries of its input and output.
    """

    macs: int
    weights: int
    inputs: int
    outputs: int


class Floor(NamedTuple):
    """The FLOPs and bytes that a row needs."""

    flops: float
    bytes: float

    def seconds(self, flops_rate: float, byte_rate: float) -> float:
        """Return the larger of the two times."""
        return max(self.flops / flops_rate, self.bytes / byte_rate)


def taps(size: int, kernel: int, stride: int) -> int:
    """Return the number of products of a 1-D convolution padded with kernel // 2 zeros, without those with a zero."""
    starts = range(-(kernel // 2), size + kernel // 2 - kernel + 1, stride)
    return sum(min(size, start + kernel) - max(0, start) for start in starts)


def layers(model: dict[str, Any], event_shape: tuple[int, ...]) -> list[Layer]:
    """Return the layers of the network `config.model`, from input to output."""
    if model["name"] == "mlp":
        widths = [math.prod(event_shape), *model["width"], 1]
        return [dense(a, b) for a, b in itertools.pairwise(widths)]
    size, _, channels = event_shape
    table = [convolution(size, channels, model["stem"], 3, 1)]
    channels = model["stem"]
    for width, blocks, first_stride in model["stages"]:
        for j in range(blocks):
            stride = first_stride if j == 0 else 1
            out = -(-size // stride)
            table += [convolution(size, channels, width, 3, stride), convolution(out, width, width, 3, 1)]
            if stride != 1 or channels != width:
                table.append(convolution(size, channels, width, 1, stride))
            size, channels = out, width
    return [*table, dense(channels, 1)]


def dense(inputs: int, outputs: int) -> Layer:
    return Layer(inputs * outputs, (inputs + 1) * outputs, inputs, outputs)


def convolution(size: int, channels: int, width: int, kernel: int, stride: int) -> Layer:
    """Return the layer of a square convolution on size x size pixels, without bias."""
    macs, out = taps(size, kernel, stride) ** 2 * channels * width, -(-size // stride)
    return Layer(macs, kernel**2 * channels * width, size**2 * channels, out**2 * width)


def parameters(table: list[Layer]) -> int:
    return sum(layer.weights for layer in table)


def flow_step(table: list[Layer], batch_size: int) -> Floor:
    """Return the floor of the network and its input gradient.

    The weights are read once; the particles are read and written.
    """
    flops = 2 * 2 * batch_size * sum(layer.macs for layer in table)
    return Floor(flops, FLOAT * (parameters(table) + 2 * batch_size * table[0].inputs))


def layered_bytes(table: list[Layer], batch_size: int) -> float:
    """Return the bytes of a flow step in which each layer reads its input and writes its output, in both directions."""
    traffic = sum(batch_size * (layer.inputs + layer.outputs) + layer.weights for layer in table)
    return 2.0 * FLOAT * traffic


def train_step(table: list[Layer], batch_size: int, num_steps: int) -> Floor:
    """Return the floor of K flow steps, the loss and its gradient on two batches, Adam and EMA.

    The loss needs no input gradient of the first layer. Adam and EMA read and write the parameters, two moments and the
    average, and read the gradient.
    """
    one = flow_step(table, batch_size)
    loss = 2 * 2 * batch_size * (3 * sum(layer.macs for layer in table) - table[0].macs)
    return Floor(num_steps * one.flops + loss, num_steps * one.bytes + 9 * FLOAT * parameters(table))


def sampling(table: list[Layer], batch_size: int, num_steps: int) -> Floor:
    one = flow_step(table, batch_size)
    return Floor(num_steps * one.flops, num_steps * one.bytes)


def prior_fit(images: int, values: int, rank: int) -> Floor:
    """Return the floor of fitting a Gaussian prior.

    An exact prior needs half of the symmetric product X^T X and a Cholesky factor; one of low rank needs one pass with
    the products X q and X^T (X q). Images are read as bytes, and the triangle or the basis is written.
    """
    if rank:
        return Floor(2 * 2.0 * images * values * rank, 2.0 * images * values + FLOAT * values * rank)
    return Floor(images * values**2 + values**3 / 3, images * values + FLOAT * values * (values + 1) / 2)


def prior_draw(draws: int, values: int, rank: int) -> Floor:
    """Return the floor of draws from a Gaussian prior: a triangle or a basis times normal numbers."""
    entries = values * rank if rank else values * (values + 1) // 2
    return Floor(2.0 * draws * entries, FLOAT * (entries + draws * values))


def data_batch(batch_size: int, event_bytes: int) -> Floor:
    """Return the floor of a batch, which is read from the cache and written."""
    return Floor(0, 2.0 * batch_size * event_bytes)


def checkpoint(numbers: int) -> Floor:
    """Return the floor of a checkpoint: parameters, EMA and two moments are copied."""
    return Floor(0, 2.0 * 4 * FLOAT * numbers)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)

    print("network   parameters   flow step: GFLOP        MB  MB by layers   training step: TFLOP        GB")
    for name, make in CONFIGS.items():
        config = make().to_dict()
        size = config["data"].get("image_size")
        shape = (size, size, config["data"]["channels"]) if size else (2,)
        table, batch_size = layers(config["model"], shape), config["data"]["batch_size"]
        step, training = flow_step(table, batch_size), train_step(table, batch_size, config["flow"]["num_steps"])
        print(
            f"{name:9}{parameters(table):>11,}{step.flops / 1e9:>19.4g}{step.bytes / 1e6:>10.3g}"
            f"{layered_bytes(table, batch_size) / 1e6:>14.3g}{training.flops / 1e12:>23.4g}"
            f"{training.bytes / 1e9:>10.3g}"
        )


if __name__ == "__main__":
    main()
