"""Clip, unit and head scale of a Fisher sketch from public images: no site's data has a part in them."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from federation.errors import SpaceError
from federation.sketches.fisher_parameters import FisherParameters, encode_centre
from federation.sketches.moments import public_clip
from site_agent.extractors import Extractor
from site_agent.fisher.montecarlo import MonteCarlo
from site_agent.fisher.private_head import public_scale, stand_in
from site_agent.fisher.public_head import public_head

_UNITS = 10
"""The clip norm has 2^9 to 2^10 units: at ε = 1 and a weight of 12 per patient, noise has σ below 2^16."""


def by_public_images(
    parameters: FisherParameters, extractor: Extractor, public: Iterable[Tensor]
) -> FisherParameters:
    """Return parameters with the values that public images give.

    The head's scale is the median norm of their features, for a private head around their mean; the clip,
    unless one is set, 1.1 times the median norm of their squared gradients under the public head, or under
    one of its directions that is as long as a private head.

    Args:
        parameters: What was chosen.
        extractor: The network.
        public: uint8 [N, 3, S, S], batches of images that belong to no site.

    Raises:
        SpaceError: If there are no images, or they have no gradients.
    """
    batches = list(public)
    if not batches:
        raise SpaceError("without public images there is nothing to choose a Fisher clip by")
    features = np.concatenate([extractor(batch) for batch in batches]).astype(np.float64)
    if parameters.head == "dp":
        parameters = replace(parameters, head_centre=encode_centre(features.mean(axis=0)))
        features -= parameters.centre(extractor.n_features)
    norm = np.median(np.linalg.norm(features, axis=1))
    scaled = replace(parameters, head_scale=float(f"{norm:.6g}"))
    clip = parameters.clip or public_clip(_lengths(scaled, extractor, batches))
    return replace(scaled, clip=clip, scale_bits=math.floor(_UNITS - math.log2(clip)))


def _lengths(
    parameters: FisherParameters, extractor: Extractor, batches: list[Tensor]
) -> npt.NDArray[np.float64]:
    head = public_head(parameters, extractor.n_features)
    if parameters.head == "dp":
        head = stand_in(public_scale(parameters, extractor.n_features), head.weights)
    squares = MonteCarlo(extractor, head, parameters)
    return np.concatenate([np.linalg.norm(squares(batch).astype(np.float64), axis=1) for batch in batches])
