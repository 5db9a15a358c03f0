"""What a site sketches, under which bounds, and what it then has."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Self

import numpy as np

from federation.canonical import canonical_json, sha256_hex
from federation.errors import PolicyError
from federation.privacy.mechanism import part_of_kind
from federation.sampling import SamplingPlan
from federation.sketches import FisherSketch, Sketch
from federation.sketches.fisher_parameters import FisherParameters
from federation.space import Space
from site_agent.data import ImageSource
from site_agent.data.source import Indices
from site_agent.data.unreadable import BadImage
from site_agent.fisher.terms import HeadTerms
from site_agent.patients import PatientSample, Unit


@dataclass(frozen=True)
class Sketched:
    """The exact sketches of a task; they stay at the site unless a release lets them out.

    Args:
        sketches: Kind → sketch, every kind that the space names.
        unreadable: Images that were drawn and could not be read.
        arithmetic: How the network was executed.
        n: Number of images in the sketches, an image that was drawn twice counted twice.
        n_patients: Number of patients in the sketches; of images where nothing was bounded.
        weight: How often the images of one patient count together, at most.
        unit: Who moves a sketch by no more than ``weight`` images do.
        spent: Kind → ρ that went into what its sketch is made with; these sketches are of one release.
    """

    sketches: Mapping[str, Sketch]
    unreadable: tuple[BadImage, ...]
    arithmetic: str
    n: int
    n_patients: int
    weight: int = 1
    unit: Unit = "image"
    spent: Mapping[str, Fraction] = field(default_factory=dict)


@dataclass(frozen=True)
class Work:
    """What to sketch and how.

    Args:
        source: The dataset.
        space: The space to work in.
        sampling: Which images to draw.
        max_unreadable: Largest share of unreadable images.
        deadline: Unix time after which the work is given up.
        patients: How the source was bounded, or None where every image counts once.
        levels: How many levels a cdf sketch has; None for all of the space.
        rho: What the release may spend that the sketches are for; 0 where they are not released with noise.

    Raises:
        PolicyError: If patients are bounded, but something else lets one of them change what others add.
    """

    source: ImageSource
    space: Space
    sampling: SamplingPlan
    max_unreadable: float
    deadline: float
    patients: PatientSample | None = None
    levels: int | None = None
    rho: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        if self.patients is not None:
            _require_independence(self, self.patients)

    @classmethod
    def of_patients(
        cls,
        patients: PatientSample,
        space: Space,
        max_unreadable: float,
        deadline: float,
        levels: int | None = None,
        rho: Fraction = Fraction(0),
    ) -> Self:
        """Return the work of sketching bounded patients, every image of theirs once.

        Raises:
            PolicyError: If the space lets one patient change what others add.
        """
        plan = SamplingPlan(None)
        return cls(patients.source, space, plan, max_unreadable, deadline, patients, levels, rho)

    @property
    def weights(self) -> Indices:
        """How often each image of the source counts, int64 [n]."""
        return np.ones(len(self.source), np.int64) if self.patients is None else self.patients.weights

    @property
    def head_terms(self) -> HeadTerms:
        """What a private head is fitted under; the classes of a listing are public, as its columns are."""
        n_classes, fisher = len(self.source.class_names), fisher_parameters(self.space)
        if self.patients is None or fisher is None or fisher.head != "dp":
            return HeadTerms(n_classes)
        part = part_of_kind(self.rho, len(self.space.sketches))
        return HeadTerms(n_classes, self.patients.weight, part * Fraction(str(fisher.head_share)))

    def key(self, execution: str) -> str:
        """Return the hash of everything that decides the bytes of the sketches.

        Args:
            execution: How the network is asked to be executed, or was.
        """
        parts = [self.space.space_id, self.source.digest(), asdict(self.sampling), execution]
        bounded = [] if self.patients is None else [self.patients.digest(), self.levels]
        return sha256_hex(canonical_json(parts + bounded))


def _require_independence(work: Work, patients: PatientSample) -> None:
    """Raise where an image's share of a sketch would depend on which other images there are."""
    transform, fisher = work.space.extractor.transform, fisher_parameters(work.space)
    if patients.source is not work.source:
        raise PolicyError("the images are others than those that were bounded", remedy="bound them again")
    if work.sampling.n_images is not None or work.sampling.tolerance is not None:
        raise PolicyError(
            "a private sketch was to draw a sample, and who is drawn depends on who else is there",
            remedy="use every image of the bounded patients",
        )
    if transform.preprocessing != "deterministic":
        raise PolicyError(
            f"preprocessing {transform.preprocessing!r} crops at random by an image's position",
            remedy="use a space with preprocessing 'deterministic' for private sketches",
        )
    if fisher is not None and fisher.estimator == "variational":
        raise PolicyError(
            "the variational Fisher estimate is no sum over patients",
            remedy="use a space with the estimator 'montecarlo' for private sketches",
        )
    if fisher is not None and fisher.head == "fitted":
        raise PolicyError(
            "a head fitted to the labels is no sum over patients and has no noise",
            remedy="use a space whose Fisher head is 'public' or 'dp' for private sketches",
        )
    if fisher is not None and fisher.head == "dp" and work.rho <= 0:
        raise PolicyError(
            "a private head was to be fitted to bounded patients without a budget",
            remedy="say what the release may spend",
        )


def fisher_parameters(space: Space) -> FisherParameters | None:
    """Return how a space estimates Fisher information, None if it does not."""
    parameters = space.sketches.get(FisherSketch.kind)
    return None if parameters is None else FisherParameters.read(parameters)
