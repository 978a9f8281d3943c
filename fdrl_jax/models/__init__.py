"""Networks: ratio estimators behind plain functions, and a classifier. Outside of this package nothing imports Flax.

To add a network, write a Linen module from [batch, *event] to [batch] and wrap it with `estimator`.
"""

from fdrl_jax.models.classifier import CNN as CNN
from fdrl_jax.models.initialisation import head_bias as head_bias
from fdrl_jax.models.mlp import MLP as MLP
from fdrl_jax.models.ratio_estimator import Estimator as Estimator
from fdrl_jax.models.ratio_estimator import estimator as estimator
from fdrl_jax.models.resnet import ResNet as ResNet
from fdrl_jax.models.resnet import Stage as Stage
from fdrl_jax.models.spectral_norm import Spectral as Spectral
