"""Spaces that a private consortium could choose, and sketches of many samples in them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from federation.sketches import CdfSketch, HistogramSketch, Sketch, kind
from federation.sketches.binning import Binner
from federation.sketches.cdf_parameters import CLIP, CdfParameters
from federation.space import Binning, Space, edges_from_reference

CLIPS = (1.0, 1.05, 1.1)
BINS = (2, 4, 8, 16)


@dataclass(frozen=True)
class Candidate:
    """A space and the distances to try in it.

    Args:
        name: What people read.
        space: Edges and parameters, from public images alone.
        distances: Names of distances.
        projection: float64 [n_features, n_projected] that features are multiplied by first, if any.
    """

    name: str
    space: Space
    distances: tuple[str, ...]
    projection: np.ndarray | None = None

    def features(self, x: np.ndarray) -> np.ndarray:
        """Return what is sketched of float [n_images, n_features]."""
        return x if self.projection is None else x @ self.projection


def candidates(fine: Space, reference: np.ndarray) -> Iterator[Candidate]:
    """Yield every candidate.

    Args:
        fine: The space of 100 equal-width bins.
        reference: float32 [n_images, n_features] of the public reference.
    """
    for levels in (1, 2):
        for clip in CLIPS:
            yield Candidate(
                f"cdf {levels} level{'s' * (levels > 1)}, clip {clip:g}",
                _cdf_space(fine, reference, 2**levels, clip),
                ("cdf-l2",),
            )
    for binning in ("equal-mass", "skewed"):
        for n_bins in BINS:
            space = _histogram_space(fine, reference, n_bins, binning)
            yield Candidate(f"histogram {n_bins} {binning}", space, ("cramer", "l2"))
    for n_components in (64, 256):
        projection = rotated_components(reference, n_components)
        space = _histogram_space(fine, reference @ projection, 4, "equal-mass")
        name = f"histogram 4 equal-mass, PCA {n_components}"
        yield Candidate(name, space, ("cramer",), projection)
        space = _cdf_space(fine, reference @ projection, 2, CLIP, "equal-mass")
        yield Candidate(f"cdf 1 level, clip {CLIP:g}, PCA {n_components}", space, ("cdf-l2",), projection)
    yield Candidate("histogram 100 equal-width", fine, ("bkld-small",))


def rotated_components(reference: np.ndarray, n_components: int) -> np.ndarray:
    """Return float64 [n_features, n_components]: principal components of public images, randomly rotated."""
    centred = reference - reference.mean(axis=0, dtype=np.float64)
    components = np.linalg.svd(centred, full_matrices=False)[2][:n_components].T
    random = np.random.default_rng(0).normal(size=(n_components, n_components))
    return components @ np.linalg.qr(random)[0]


def _cdf_space(
    fine: Space, reference: np.ndarray, n_bins: int, clip: float, binning: Binning = "skewed"
) -> Space:
    space = _histogram_space(fine, reference, n_bins, binning)
    parameters = CdfParameters.of_reference(space.edges, reference, clip).to_space()
    return replace(space, sketches={CdfSketch.kind: parameters})


def _histogram_space(fine: Space, reference: np.ndarray, n_bins: int, binning: Binning) -> Space:
    edges = edges_from_reference(reference, n_bins, binning)
    extractor = replace(fine.extractor, n_features=reference.shape[1])
    return replace(fine, extractor=extractor, edges=edges, binning=binning)


def image_sums(candidate: Candidate, x: np.ndarray, samples: Sequence[np.ndarray]) -> list[Sketch]:
    """Return the exact sketch of every sample: each image is looked at once, samples are sums of images.

    Args:
        candidate: The space.
        x: float [n_images, n_features].
        samples: int64 arrays of image numbers, which may repeat.
    """
    (name,) = candidate.space.sketches
    zero, features = kind(name).for_space(candidate.space), candidate.features(x)
    times = np.array([np.bincount(images, minlength=len(x)) for images in samples], np.float32)
    vectors = _cdf_vectors if isinstance(zero, CdfSketch) else _histogram_vectors
    sketches = [zero.from_vector(vector) for vector in vectors(zero, features, times)]
    if sketches[0] != zero.update(features[samples[0]]):
        raise AssertionError(f"{candidate.name}: sums of images are not the sketch of the images")
    return sketches


def _cdf_vectors(zero: CdfSketch, features: np.ndarray, times: np.ndarray) -> np.ndarray:
    images = zero.known.vectors(features, zero.n_levels).reshape(len(features), -1).astype(np.float32)
    sums = times @ images  # whole numbers below 2^24: exact
    return np.concatenate([times.sum(axis=1, keepdims=True), sums], axis=1).astype(np.int64)


def _histogram_vectors(zero: HistogramSketch, features: np.ndarray, times: np.ndarray) -> np.ndarray:
    bins = Binner(zero.edges).bins(features)
    counts = [times @ (bins == b).astype(np.float32) for b in range(zero.n_bins)]
    return np.stack(counts, axis=-1).reshape(len(times), -1).astype(np.int64)
