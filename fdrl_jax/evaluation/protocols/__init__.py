"""Evaluation of a run's samples (`--mode=evaluate`): metrics, each with the protocol that it follows.

A metric is named METRIC@FEATURES: what is computed, and in which feature space. Results are appended to
WORKDIR/evaluation.jsonl, one JSON object per line with the fields of `Result`. The features of the training images are
cached in WORKDIR/reference/, with a fingerprint of the images and the protocol.
"""

from fdrl_jax.evaluation.protocols.evaluate import evaluate as evaluate
from fdrl_jax.evaluation.protocols.metric_names import Metric as Metric
from fdrl_jax.evaluation.protocols.metric_names import parse as parse
from fdrl_jax.evaluation.protocols.reference_set import REFERENCE_FOLDER as REFERENCE_FOLDER
from fdrl_jax.evaluation.protocols.reference_set import write_reference as write_reference
from fdrl_jax.evaluation.protocols.results_file import RESULTS_FILE as RESULTS_FILE
from fdrl_jax.evaluation.protocols.results_file import Result as Result
from fdrl_jax.evaluation.protocols.results_file import write_results as write_results
