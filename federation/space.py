"""A space is everything two fingerprints must share to be comparable, named by the hash of its content."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import FingerprintError, SpaceError, SpaceMismatchError

Preprocessing = Literal["deterministic", "paper"]
Interpolation = Literal["bilinear", "bicubic"]
Library = Literal["timm", "torchvision"]
Binning = Literal["equal-width", "equal-mass", "skewed"]
Parameters = Mapping[str, int | float | str]
Edges = npt.NDArray[np.float64]

SCHEMA = 1
SKEW = 4 / 3


@dataclass(frozen=True)
class Transform:
    """How a decoded image becomes the network's input.

    Args:
        image_size: Side of the square input in pixels.
        preprocessing: ``"paper"`` is the published training transform (random crop, random flip);
            ``"deterministic"`` is the same geometry without chance.
        interpolation: How images are resized.
        mean: Per-channel mean subtracted from inputs in [0, 1].
        std: Per-channel standard deviation the result is divided by.
    """

    image_size: int
    preprocessing: Preprocessing
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class ExtractorIdentity:
    """Which frozen network turns an image into features.

    Args:
        library: Where the architecture comes from.
        name: Its name there.
        weights_sha256: Digest of the backbone's tensors, independent of the file that held them.
        transform: The preprocessing, which is part of the network's identity.
        n_features: Length of a feature vector.
        layers: Module paths of the layers whose channel means are the features, in order; without any the
            features are the pooled penultimate ones.
    """

    library: Library
    name: str
    weights_sha256: str
    transform: Transform
    n_features: int
    layers: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values; the usual case, no layers, is left unsaid."""
        values: dict[str, Any] = _plain(asdict(self))
        if not self.layers:
            del values["layers"]
        return values


@dataclass(frozen=True, eq=False)
class Space:
    """Extractor, explicit bin edges and the parameters of every sketch: what makes two tasks comparable.

    Args:
        name: A label for people; not part of the identity.
        extractor: The network whose features are binned.
        edges: float64 [n_features, n_bins + 1], finite, non-decreasing along bins, with the first edge
            below the last. Values beyond the outer edges count in the outer bins.
        binning: How the edges were placed.
        reference: The public images the edges come from, for example ``"procedural-v1, n=1000"``.
        sketches: Kind → parameters of every sketch a fingerprint carries; at least one.

    Raises:
        SpaceError: If the edges break these rules or no sketch is asked for.
    """

    name: str
    extractor: ExtractorIdentity
    edges: Edges
    binning: Binning
    reference: str
    sketches: Mapping[str, Parameters] = field(default_factory=lambda: {"histogram": {}})

    def __post_init__(self) -> None:
        edges = np.array(self.edges, dtype="<f8", order="C") + 0.0  # -0.0 becomes 0.0: equal edges, equal id
        _check_edges(edges, self.extractor.n_features)
        if self.binning not in get_args(Binning):
            raise SpaceError(f"unknown binning {self.binning!r}", remedy=f"use one of {get_args(Binning)}")
        if not self.sketches:
            raise SpaceError("a space without sketches compares nothing", remedy="name at least one")
        edges.flags.writeable = False
        object.__setattr__(self, "edges", edges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.space_id == other.space_id

    def __hash__(self) -> int:
        return hash(self.space_id)

    @property
    def n_features(self) -> int:
        """Number of features, one histogram each."""
        return int(self.edges.shape[0])

    @property
    def n_bins(self) -> int:
        """Number of bins per feature."""
        return int(self.edges.shape[1] - 1)

    @cached_property
    def space_id(self) -> str:
        """SHA-256 of everything that decides whether two histograms are comparable."""
        return sha256_hex(canonical_json(self._identity()))

    def header(self) -> dict[str, Any]:
        """Return the space without its edge array, as plain JSON values."""
        return {"schema": SCHEMA, "name": self.name, "space_id": self.space_id, **self._identity()}

    def to_bytes(self) -> bytes:
        """Return the space as a file: canonical JSON header plus edges."""
        return pack(self.header(), {"edges": self.edges})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Space":
        """Read a space file.

        Raises:
            SpaceError: If it is damaged or does not hash to the id it states.
        """
        try:
            header, arrays = unpack(data, "space")
            space = _from_parts(header, arrays["edges"])
        except (FingerprintError, KeyError, TypeError, ValueError) as error:
            raise SpaceError(f"malformed space: {error}", remedy="fetch or build the space again") from error
        if space.to_bytes() != data:
            raise SpaceError(
                f"space {str(header.get('space_id'))[:12]} does not hash to its id",
                remedy="the file or message is damaged: fetch it again",
            )
        return space

    def coarsen(self, factor: int) -> "Space":
        """Return the space whose bins are each ``factor`` neighbouring bins of this one.

        Raises:
            SpaceError: If ``factor`` does not divide the number of bins.
        """
        if factor < 1 or self.n_bins % factor:
            raise SpaceError(
                f"{self.n_bins} bins cannot be merged in groups of {factor}",
                remedy=f"choose a divisor of {self.n_bins}",
            )
        name = f"{self.name}/{self.n_bins // factor}"
        return replace(self, name=name, edges=self.edges[:, ::factor])

    def require_same(self, other: "Space") -> None:
        """Raise unless ``other`` is this space.

        Raises:
            SpaceMismatchError: Saying which parts differ and how.
        """
        if self.space_id != other.space_id:
            differences = "; ".join(_differences(self, other)) or "the recorded edge provenance differs"
            raise SpaceMismatchError(
                f"spaces {self.space_id[:12]} and {other.space_id[:12]} are not comparable: {differences}",
                remedy="fingerprint both tasks in one space",
            )

    def _identity(self) -> dict[str, Any]:
        return {
            "extractor": self.extractor.plain(),
            "binning": self.binning,
            "reference": self.reference,
            "n_bins": self.n_bins,
            "edges_sha256": sha256_hex(self.edges.tobytes()),
            "sketches": {kind: dict(parameters) for kind, parameters in sorted(self.sketches.items())},
        }


def equal_width_edges(low: Edges, high: Edges, n_bins: int, skew: float = 1.0) -> Edges:
    """Return equal-width bin edges per feature, or edges that are denser below.

    A feature that is constant in the reference (``low == high``) gets edges one unit to either side, as
    ``torch.histc`` does, so that no bin has zero width. Edge ``k`` is ``low + (high - low)·(k/n_bins)``
    with ``k/n_bins`` rounded once: the edges of 100 bins are exactly every tenth edge of 1,000 bins.

    Args:
        low: float64 [n_features], lower outer edges (the published choice is the 5 % quantile).
        high: float64 [n_features], upper outer edges (95 % quantile).
        n_bins: Number of bins.
        skew: Edge ``k`` lies at the fraction (k/n_bins)^skew of the range.

    Returns:
        float64 [n_features, n_bins + 1].
    """
    constant = high <= low
    low, high = np.where(constant, low - 1.0, low), np.where(constant, low + 1.0, high)
    fraction = (np.arange(n_bins + 1) / n_bins) ** skew
    edges: Edges = low[:, None] + (high - low)[:, None] * fraction
    return edges


def edges_from_reference(features: npt.NDArray[Any], n_bins: int, binning: Binning) -> Edges:
    """Return bin edges that follow the features of a public reference.

    Args:
        features: float [n_images, n_features] of public images.
        n_bins: Number of bins.
        binning: ``"equal-width"`` between the 5 % and 95 % quantile (Godau et al., arXiv 2412.08763);
            ``"skewed"``, the same range with edges at the fractions (k/n_bins)^(4/3), since activations are
            dense below and few bins should tell most there; or ``"equal-mass"``, where each bin holds the
            same share of the reference.

    Returns:
        float64 [n_features, n_bins + 1].

    Raises:
        SpaceError: If there are no images or no bins, or a feature is NaN or infinite.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or 0 in features.shape or n_bins < 1 or not np.isfinite(features).all():
        raise SpaceError(
            f"cannot place {n_bins} bins by a reference of shape {list(features.shape)}: it must be finite, "
            "[images, features], with at least one of each",
            remedy="check the reference images and the extractor",
        )
    if binning != "equal-mass":
        low, high = np.quantile(features, [0.05, 0.95], axis=0)
        return equal_width_edges(low, high, n_bins, SKEW if binning == "skewed" else 1.0)
    fraction = np.arange(n_bins + 1) / n_bins
    edges: Edges = np.quantile(features, fraction, axis=0).T.copy()
    constant = edges[:, 0] >= edges[:, -1]
    edges[constant] = equal_width_edges(edges[constant, 0], edges[constant, -1], n_bins)
    return edges


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a header equals what JSON gives back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _from_parts(header: Mapping[str, Any], edges: Edges) -> Space:
    extractor = dict(header["extractor"])
    transform = dict(extractor.pop("transform"))
    for key in ("mean", "std"):
        transform[key] = tuple(transform[key])
    layers = tuple(extractor.pop("layers", ()))
    identity = ExtractorIdentity(transform=Transform(**transform), layers=layers, **extractor)
    sketches = {kind: dict(parameters) for kind, parameters in header["sketches"].items()}
    return Space(header["name"], identity, edges, header["binning"], header["reference"], sketches)


def _check_edges(edges: Edges, n_features: int) -> None:
    if edges.ndim != 2 or edges.shape[0] != n_features or edges.shape[1] < 2:
        raise SpaceError(
            f"edges have shape {list(edges.shape)}, expected [{n_features}, number of bins + 1]",
            remedy="give one row of edges per feature of the extractor",
        )
    if not np.isfinite(edges).all():
        raise SpaceError("edges hold NaN or infinity", remedy="use finite edges; outliers are clipped anyway")
    if (np.diff(edges, axis=1) < 0).any() or (edges[:, 0] >= edges[:, -1]).any():
        raise SpaceError("edges of a feature do not increase", remedy="sort the edges of every feature")


def _differences(ours: Space, theirs: Space) -> list[str]:
    a, b = _flat(ours), _flat(theirs)
    found = [f"{key} is {a[key]} here and {b[key]} there" for key in a if a[key] != b[key]]
    if ours.edges.shape == theirs.edges.shape and not np.array_equal(ours.edges, theirs.edges):
        moved = int((ours.edges != theirs.edges).any(axis=1).sum())
        found.append(f"bin edges differ in {moved} of {ours.n_features} features")
    return found


def _flat(space: Space) -> dict[str, object]:
    extractor = asdict(space.extractor)
    transform = extractor.pop("transform")
    return {
        **{f"extractor {key}": value for key, value in extractor.items()},
        **{f"transform {key}": value for key, value in transform.items()},
        "binning": space.binning,
        "number of bins": space.n_bins,
        "reference": space.reference,
        "sketches": {kind: dict(parameters) for kind, parameters in sorted(space.sketches.items())},
    }
