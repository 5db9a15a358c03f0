"""What sites that train a backbone together average, and how an average is named and signed.

The running statistics of batch normalisation stay at their site, like its head; all else is averaged, the
scale and shift of normalisation too (SiloBN, Andreux et al. 2020). Statistics of two imaging modalities have
no mean that fits either, and they are numbers about a site's images rather than about what was learned.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.errors import ModelError
from federation.identity import Identity
from federation.transfer.model import Normalization, TravellingModel, Weights
from federation.transfer.step import CotrainStep

AVERAGE_TASK = "co-training"
"""What an average names as its task, which is that of nobody."""

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name → dtype and shape of every array that is averaged."""


def stays_local(name: str) -> bool:
    """Return whether an array of a backbone's state stays at its site."""
    return name.rpartition(".")[2] in _STATISTICS


def shared_part(weights: Weights) -> dict[str, npt.NDArray[np.generic]]:
    """Return what of a backbone's state is averaged."""
    return {name: array for name, array in weights.items() if not stays_local(name)}


def local_part(weights: Weights) -> dict[str, npt.NDArray[np.generic]]:
    """Return what of a backbone's state stays at its site."""
    return {name: array for name, array in weights.items() if stays_local(name)}


def layout_of(weights: Weights) -> Layout:
    """Return names, dtypes and shapes, in the order of the names."""
    return {name: (str(array.dtype), array.shape) for name, array in sorted(weights.items())}


def average_id(group: str, round_number: int) -> str:
    """Return what an average names in place of a step: the group, and the round whose updates it is made of.

    Args:
        group: The common training, 64 hexadecimal digits.
        round_number: The round, from 0.
    """
    return sha256_hex(canonical_json({"average": group, "round": round_number}))


def signed_average(
    weights: Weights, normalization: Normalization, step: CotrainStep, aggregator: Identity
) -> TravellingModel:
    """Return an average as the model at which the next round begins, signed by who averaged.

    Args:
        weights: Name → array.
        normalization: What its normalisation layers are.
        step: One of the steps whose backbones were averaged.
        aggregator: Who averaged.
    """
    named = (aggregator.name, AVERAGE_TASK, average_id(step.group, step.round))
    return TravellingModel(step.network, normalization, *named, weights).signed(aggregator)


def require_average(model: TravellingModel, step: CotrainStep, aggregator: str) -> None:
    """Raise unless a model is the average at which a step of common training begins.

    Args:
        model: The model; its own signature is verified.
        step: The step.
        aggregator: Public key of who asks for the step, 64 hexadecimal digits.

    Raises:
        ModelError: If somebody else signed it, or it is of another group, round or network.
    """
    if model.public_key != aggregator:
        raise ModelError(
            f"the average for round {step.round} is signed by {model.public_key[:12]}…, expected "
            f"{aggregator[:12]}…, the aggregator that asks",
            remedy="an average is taken from nobody else",
        )
    if step.round < 1 or model.step_id != average_id(step.group, step.round - 1):
        raise ModelError(
            f"round {step.round} of group {step.group[:12]} begins at a model of another group or round",
            remedy="begin at the average of the round before",
        )
    if model.network != step.network:
        raise ModelError(f"the average is a {model.network}, expected {step.network}")
