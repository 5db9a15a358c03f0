"""Training of a head alone: the network below it is frozen, so its features are computed once and kept."""

import time
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from federation.canonical import canonical_json, sha256_hex
from federation.space import ExtractorIdentity, Transform
from federation.transfer.recipe import Network
from site_agent.data import ImageSource
from site_agent.extractors import Extractor
from site_agent.network.architecture import Backbone
from site_agent.network.weights import content_digest
from site_agent.training.epoch import Examples, Indices
from site_agent.training.images import ImageCache
from site_agent.training.networks import Classifier
from site_agent.training.row_file import RowFile

Features = npt.NDArray[np.float32]

NOTE = "only a linear head was trained, on features of images without augmentation"
_CHUNK = 512


class FeatureExamples(Examples):
    """Features of images, as they are whatever is drawn.

    Args:
        source: The images, one per example.
        features: float32 [m, n_features].
        rows: int64 [n], row of each example in ``features``.
        device: Where the head is.
    """

    def __init__(self, source: ImageSource, features: Features, rows: Indices, device: torch.device) -> None:
        super().__init__(source)
        self._features, self._rows, self._device = features, rows, device

    @override
    def inputs(self, positions: Indices, chance: torch.Generator | None) -> torch.Tensor:
        """Return float32 [B, n_features]."""
        return torch.from_numpy(self._features[self._rows[positions]]).to(self._device)


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """Features of a task's images by a frozen network; steps with the same network share them.

    Args:
        images: The decoded images.
        network: The architecture.
        classifier: Holds the frozen network.
        device: Where it runs.
    """

    images: ImageCache = field(repr=False)
    network: Network
    classifier: Classifier = field(repr=False)
    device: torch.device

    @cached_property
    def rows(self) -> RowFile:
        """The features, float32 [n, n_features]."""
        extractor = self._extractor
        identity = [extractor.identity.plain(), extractor.arithmetic, self.classifier.normalization]
        pixels = self.images.rows
        place = pixels.folder.with_name(f"{pixels.folder.name}-{sha256_hex(canonical_json(identity))[:32]}")
        return RowFile(place, pixels.n, (extractor.n_features,), "<f4")

    def compute(self, indices: Indices, until: float | None = None) -> bool:
        """Compute the features of decoded images that are not yet there; returns whether all of them are.

        Args:
            indices: int64 [k], positions of images that were decoded.
            until: ``time.monotonic`` after which it stops; None: never.
        """
        with self.rows.filling():
            missing = self.rows.missing(indices)
            for start in range(0, len(missing), _CHUNK):
                if start and until is not None and time.monotonic() > until:
                    return False
                part = missing[start : start + _CHUNK]
                levels = torch.from_numpy(self.images.rows.mapped[part]).permute(0, 3, 1, 2)
                self.rows.write(part, self._extractor(levels))
        return True

    @cached_property
    def _extractor(self) -> Extractor:
        classifier, named = self.classifier, self.network
        backbone = classifier.backbone.eval()
        transform = Transform(named.image_size, "deterministic", "bilinear", classifier.mean, classifier.std)
        identity = ExtractorIdentity(
            named.library, named.name, content_digest(backbone), transform, classifier.head.in_features
        )
        frozen = Backbone(backbone, (), classifier.mean, classifier.std, "bilinear")
        return Extractor(frozen, identity, "auto", self.device)
