"""What the ablations share: the recipe of `configs/digits.py` at half its length, and runs of equal cost."""

from ml_collections import ConfigDict

from configs import digits

NUM_STEPS = 1000

# The refinement of `configs/digits.py`, as a share of K.
KAPPA_SHARE = 0.2


def base(num_steps: int = NUM_STEPS) -> ConfigDict:
    """The run that every table varies: FDRL-DDP, LSIF-chi2, K = 10. The learning rate falls for the last quarter."""
    config = digits.get_config()
    del config.data.holdout  # All images, for narrower intervals.
    del config.diagnostics
    config.optimizer.decay_steps = (num_steps * 3 // 4,)
    config.train.update(num_steps=num_steps, sample_every=num_steps, checkpoint_every=num_steps, keep=1)
    # What goes wrong short of NaN is for the metrics to show.
    config.train.update(sample_range=0.0, spike=0.0)
    return config


def flops(num_steps: int, flow_steps: int) -> int:
    """The cost of a training in forward passes of one batch: 2 a flow step (a pass and its input's gradient), and 3 for
    each of the loss's two batches (a pass, its input's and its parameters' gradients)."""
    return num_steps * (2 * flow_steps + 6)


def equal_flops(flow_steps: int) -> int:
    """How many training steps with a flow of `flow_steps` cost what `base()` does."""
    reference = base()
    return flops(reference.train.num_steps, reference.flow.num_steps) // flops(1, flow_steps)
