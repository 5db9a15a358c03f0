"""What a space fixes about Fisher sketches, so that those of two sites are comparable."""

from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass, fields
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from federation.errors import SpaceError
from federation.sketches.fisher_layout import Layout
from federation.space import Parameters

Granularity = Literal["filter", "kernel"]
Estimator = Literal["montecarlo", "variational"]
Head = Literal["fitted", "public", "dp"]
_CHOICES = (("granularity", Granularity), ("estimator", Estimator), ("head", Head))
_LEFT_OUT: dict[str, tuple[str, ...]] = {
    "fitted": ("head", "head_scale", "head_centre", "head_share"),
    "public": ("head_centre", "head_share"),
    "dp": (),
}
"""Head → fields that a space with such a head does not say."""


@dataclass(frozen=True)
class FisherParameters:
    """How the Fisher information of a task is estimated and stored.

    Args:
        layout: The layers; for granularity ``"filter"`` every filter has one input.
        granularity: ``"filter"`` is the mean over all weights of an output filter (Achille et al. 2019);
            ``"kernel"`` is the mean over kernel positions only (Godau and Maier-Hein 2021).
        estimator: ``"montecarlo"`` sums per-image squared gradients of log p(y|x) with y drawn from the
            model; ``"variational"`` learns the precision of weight noise.
        scale_bits: One unit of a sketch is 2^-scale_bits.
        clip: Largest L2 norm of one image's numbers; 0 does not clip.
        head_decay: Weight decay of the linear head on standardised features, per mean loss.
        seed: Seed of the labels, or noise, that are drawn, and of a public head.
        head: ``"fitted"`` to the task's labels, which nothing protects; ``"public"``, drawn from the seed, so
            that the numbers describe inputs only; ``"dp"``, fitted with noise that the release pays for.
        head_scale: Norm of a typical feature vector of public images, which a public head divides by and a
            private one clips to, after its centre is subtracted.
        head_centre: Mean feature vector of public images for a private head, see ``centre``.
        head_share: Share of the sketch's part of a release's budget that the fit of a private head spends.

    Raises:
        SpaceError: If a value is impossible.
    """

    layout: Layout
    granularity: Granularity = "filter"
    estimator: Estimator = "montecarlo"
    scale_bits: int = 40
    clip: float = 0.0
    head_decay: float = 0.1
    seed: int = 0
    head: Head = "fitted"
    head_scale: float = 1.0
    head_centre: str = ""
    head_share: float = 0.5

    def __post_init__(self) -> None:
        for name, choices in _CHOICES:
            if getattr(self, name) not in get_args(choices):
                raise SpaceError(
                    f"Fisher {name} {getattr(self, name)!r} is unknown",
                    remedy=f"use one of: {', '.join(get_args(choices))}",
                )
        if not (-30 <= self.scale_bits <= 60 and 0 <= self.clip < 1e9 and 0 < self.head_decay < 1e9):
            raise SpaceError(
                f"Fisher parameters scale_bits={self.scale_bits}, clip={self.clip}, "
                f"head_decay={self.head_decay} are impossible",
                remedy="use -30 to 60 bits, a clip of 0 or more and a positive decay",
            )
        if not 0 <= self.seed < 2**63:
            raise SpaceError(f"Fisher seed {self.seed} is impossible", remedy="use 0 to 2^63 − 1")
        if self.estimator == "variational" and (self.clip or self.granularity != "filter"):
            raise SpaceError(
                "the variational Fisher estimate exists per filter and is not made of images to clip",
                remedy="use granularity 'filter' without clip, or the estimator 'montecarlo'",
            )
        self._require_head()
        if self.granularity == "filter" and self.layout != self.layout.by_filter():
            raise SpaceError("a Fisher layout per filter has one input per filter")

    def _require_head(self) -> None:
        if not 0 < self.head_scale < 1e9:
            raise SpaceError(
                f"a Fisher head_scale of {self.head_scale} is impossible",
                remedy="use a typical norm of features",
            )
        if not 0 < self.head_share < 1:
            raise SpaceError(
                f"a Fisher head_share of {self.head_share} leaves nothing to the head or to the sketch",
                remedy="use a share between 0 and 1, for example 0.5",
            )
        _decoded(self.head_centre)
        if self.estimator == "variational" and self.head != "fitted":
            raise SpaceError(
                "the variational estimate needs a fitted head", remedy="use the estimator 'montecarlo'"
            )

    @classmethod
    def read(cls, parameters: Parameters) -> Self:
        """Read what ``to_space`` returned.

        Raises:
            SpaceError: If something is missing, unknown or impossible.
        """
        names = {field.name for field in fields(cls)}
        if set(parameters) != names - set(_left_out(parameters.get("head", "fitted"))):
            raise SpaceError(
                f"a Fisher sketch is described by {sorted(parameters)}, expected {sorted(names)}",
                remedy="build the space again with this version",
            )
        try:
            layout = Layout.parse(str(parameters["layout"]))
            return cls(**{**parameters, "layout": layout})  # type: ignore[arg-type]
        except TypeError as error:
            raise SpaceError(f"malformed Fisher parameters: {error}") from error

    def to_space(self) -> Parameters:
        """Return the parameters as a space holds them; the usual head is left unsaid."""
        values = {**asdict(self), "layout": str(self.layout)}
        return {name: value for name, value in values.items() if name not in _left_out(self.head)}

    def centre(self, n_features: int) -> npt.NDArray[np.float64]:
        """Return float64 [n_features]: where the features of public images lie on average.

        Raises:
            SpaceError: If the space says so of another number of features.
        """
        centre = np.frombuffer(_decoded(self.head_centre), "<f4").astype(np.float64)
        if centre.shape != (n_features,) or not np.isfinite(centre).all():
            raise SpaceError(
                f"a Fisher head_centre of {len(centre)} numbers does not fit {n_features} features",
                remedy="build the space again",
            )
        return centre


def _left_out(head: object) -> tuple[str, ...]:
    return _LEFT_OUT.get(str(head), _LEFT_OUT["public"])


def encode_centre(centre: npt.NDArray[np.float64]) -> str:
    """Return a ``head_centre``: float [n_features] in single precision, little-endian, in Base64."""
    return b64encode(centre.astype("<f4").tobytes()).decode()


def _decoded(centre: object) -> bytes:
    try:
        decoded = b64decode(str(centre), validate=True)
    except ValueError:
        decoded = b"?"
    if len(decoded) % 4:
        raise SpaceError("a Fisher head_centre is no Base64 of floats", remedy="build the space again")
    return decoded
