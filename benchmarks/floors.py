"""The least that each row has to do: floating-point operations, and bytes to and from memory.

FLOPs are the multiplications and additions of products, without those with the zeros of a padding, counted from the
layer table: no activation functions, no random numbers, no optimiser. Bytes are what must be read and written once if
all else stayed on the chip. A row's floor is the larger of the two times at the machine's measured rates. It is a bound
for these algorithms: a Winograd convolution multiplies less. `python -m benchmarks.floors` prints those of the paper's
loads.
"""

import argparse
import itertools
import math
from typing import Any, NamedTuple


class Layer(NamedTuple):
    """A convolution or dense layer, for one example.

    Attributes:
      macs: multiply-adds.
      weights: numbers in its kernel and bias.
      inputs, outputs: numbers that go in and come out.
    """

    macs: int
    weights: int
    inputs: int
    outputs: int


class Floor(NamedTuple):
    """FLOPs and bytes."""

    flops: float
    bytes: float

    def seconds(self, flops_rate: float, byte_rate: float) -> float:
        """The larger of the two times."""
        return max(self.flops / flops_rate, self.bytes / byte_rate)


FLOAT = 4


def taps(size: int, kernel: int, stride: int) -> int:
    """Products of a 1-D convolution with kernel // 2 zeros on both sides, without those with a zero."""
    starts = range(-(kernel // 2), size + kernel // 2 - kernel + 1, stride)
    return sum(min(size, start + kernel) - max(0, start) for start in starts)


def layers(model: dict[str, Any], event_shape: tuple[int, ...]) -> list[Layer]:
    """The layers of config.model, from the input."""
    if model["name"] == "mlp":
        widths = [math.prod(event_shape), *model["width"], 1]
        return [dense(a, b) for a, b in itertools.pairwise(widths)]
    size, _, channels = event_shape
    found = [convolution(size, channels, model["stem"], 3, 1)]
    channels = model["stem"]
    for width, blocks, first_stride in model["stages"]:
        for j in range(blocks):
            stride = first_stride if j == 0 else 1
            out = -(-size // stride)
            found += [convolution(size, channels, width, 3, stride), convolution(out, width, width, 3, 1)]
            if stride != 1 or channels != width:
                found.append(convolution(size, channels, width, 1, stride))
            size, channels = out, width
    return [*found, dense(channels, 1)]


def dense(inputs: int, outputs: int) -> Layer:
    return Layer(inputs * outputs, (inputs + 1) * outputs, inputs, outputs)


def convolution(size: int, channels: int, width: int, kernel: int, stride: int) -> Layer:
    """A square one on size x size, without bias."""
    macs, out = taps(size, kernel, stride) ** 2 * channels * width, -(-size // stride)
    return Layer(macs, kernel**2 * channels * width, size**2 * channels, out**2 * width)


def parameters(table: list[Layer]) -> int:
    return sum(layer.weights for layer in table)


def flow_step(table: list[Layer], batch_size: int) -> Floor:
    """The network and its gradient with respect to the input; weights read once, the particles read and written."""
    flops = 2 * 2 * batch_size * sum(layer.macs for layer in table)
    return Floor(flops, FLOAT * (parameters(table) + 2 * batch_size * table[0].inputs))


def layered_bytes(table: list[Layer], batch_size: int) -> float:
    """Of a flow step whose layers each read their input and write their output, forward and backward."""
    traffic = sum(batch_size * (layer.inputs + layer.outputs) + layer.weights for layer in table)
    return 2.0 * FLOAT * traffic


def train_step(table: list[Layer], batch_size: int, num_steps: int) -> Floor:
    """K flow steps; network, weight gradient and input gradient of two batches; Adam and EMA.

    The first layer's input gradient is not needed by the loss. Adam and EMA read and write the parameters, two moments
    and the average, and read the gradient.
    """
    one = flow_step(table, batch_size)
    loss = 2 * 2 * batch_size * (3 * sum(layer.macs for layer in table) - table[0].macs)
    return Floor(num_steps * one.flops + loss, num_steps * one.bytes + 9 * FLOAT * parameters(table))


def sampling(table: list[Layer], batch_size: int, num_steps: int) -> Floor:
    one = flow_step(table, batch_size)
    return Floor(num_steps * one.flops, num_steps * one.bytes)


def prior_fit(images: int, values: int, rank: int) -> Floor:
    """Half of the symmetric product and a Cholesky factor; of low rank, one pass with products X q and X^T (X q).

    Images are read as bytes, and the triangle or the basis is written.
    """
    if rank:
        return Floor(2 * 2.0 * images * values * rank, 2.0 * images * values + FLOAT * values * rank)
    return Floor(images * values**2 + values**3 / 3, images * values + FLOAT * values * (values + 1) / 2)


def prior_draw(draws: int, values: int, rank: int) -> Floor:
    """A triangle or a basis times normal draws."""
    entries = values * rank if rank else values * (values + 1) // 2
    return Floor(2.0 * draws * entries, FLOAT * (entries + draws * values))


def data_batch(batch_size: int, event_bytes: int) -> Floor:
    """Read from the cache and written to the batch."""
    return Floor(0, 2.0 * batch_size * event_bytes)


def checkpoint(numbers: int) -> Floor:
    """Parameters, EMA and two moments, copied."""
    return Floor(0, 2.0 * 4 * FLOAT * numbers)


def main(argv: list[str] | None = None) -> None:
    """The paper's loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(argv)
    from benchmarks.cases import CONFIGS

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
