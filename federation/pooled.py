"""What a cohort's round sums: the sketches of a task, exact or with a share of noise from every site."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Self

from federation import sketch_vector
from federation.errors import (
    BudgetError,
    CohortTooSmallError,
    ConfigError,
    PolicyError,
    SpaceMismatchError,
    TermsError,
)
from federation.names import check_name
from federation.privacy.accounting import eps_of
from federation.privacy.distributed import LARGEST_SHARE, SMALLEST_SHARE
from federation.privacy.shares import cost_of_shares, planned_shares
from federation.privacy.statement import DISTRIBUTED_GAUSSIAN, NEIGHBOURS, UNITS, PrivacyStatement
from federation.privacy.weight import MAX_IMAGES_PER_PATIENT, total_weight
from federation.secagg.terms import SMALLEST_COHORT, Terms
from federation.sketch_vector import largest_moves, require_poolable, root
from federation.sketches import Sketch, zeros
from federation.sketches.base import EXACT, IntVector, Noise
from federation.space import Space
from federation.trust import TrustMode

PURPOSE = "sketches"
MAX_PATIENTS = 2**40

_BEYOND = 12  # standard deviations that no noise reaches: 10^-32 per number
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PooledRelease:
    """What is summed over a cohort, and how much noise every site adds before: the purpose of a round.

    Args:
        task: The task, as the catalogue names it.
        space_id: The space of the sketches.
        images_per_patient: At most this many images of a patient are used, each once; 0 without noise, where
            all are.
        noise: ``kind.array`` → variance of the noise that one site adds to every number of it; empty for an
            exact sum.
        honest: How many contributors are relied upon to add noise and to keep it secret; 0 without noise.
        delta: The δ at which the statement will say ε; 0 without noise.
        max_patients: No site has more patients, or more images where sums are exact.
        unit: Whom the noise hides, ``"patient"`` or ``"image"``; empty without noise.

    Raises:
        TermsError: If a value is impossible or contradicts another.
    """

    task: str
    space_id: str
    images_per_patient: int
    noise: Mapping[str, int] = field(default_factory=dict)
    honest: int = 0
    delta: float = 0.0
    max_patients: int = 100_000
    unit: str = ""

    def __post_init__(self) -> None:
        try:
            check_name("task", self.task)
        except (ConfigError, TypeError) as error:
            raise TermsError(f"a pooled release names a task that cannot be: {error}") from error
        _expect("space_id", self.space_id, isinstance(self.space_id, str) and _is_id(self.space_id))
        _expect("max_patients", self.max_patients, _is_whole(self.max_patients, 1, MAX_PATIENTS))
        most = MAX_IMAGES_PER_PATIENT
        shares = self.noise.values()
        _expect("noise", self.noise, all(_is_whole(s, SMALLEST_SHARE, LARGEST_SHARE) for s in shares))
        if self.is_exact:
            said = (self.images_per_patient, self.honest, self.delta, self.unit)
            _expect("what an exact sum says of patients and noise", said, said == (0, 0, 0.0, ""))
            return
        _expect("images_per_patient", self.images_per_patient, _is_whole(self.images_per_patient, 1, most))
        _expect("honest", self.honest, _is_whole(self.honest, 1, MAX_PATIENTS))
        _expect("delta", self.delta, type(self.delta) is float and 0 < self.delta < 1)
        _expect("unit", self.unit, self.unit in UNITS)

    @classmethod
    def from_budget(
        cls,
        space: Space,
        task: str,
        rho: Fraction | None,
        delta: float,
        images_per_patient: int,
        honest: int,
        max_patients: int = 100_000,
        unit: str = "patient",
    ) -> Self:
        """Return the release with the least noise that keeps to a budget.

        Kinds share ρ evenly, the arrays of a kind as it says, as in a private release.

        Args:
            space: The space.
            task: The task.
            rho: What a patient may pay; None: nothing protects patients, and the sum is exact.
            delta: As above; without meaning where the sum is exact, like the other two and ``unit``.
            images_per_patient: As above.
            honest: As above.
            max_patients: As above.
            unit: As above.

        Raises:
            BudgetError: If the budget allows no noise that can be drawn.
            PolicyError: If sketches of the space cannot be pooled, or have no bounded sensitivity.
            TermsError: If a value is impossible.
        """
        require_poolable(space)
        if rho is None:
            return cls(task, space.space_id, 0, max_patients=max_patients)
        noise = planned_shares(zeros(space), rho, total_weight(images_per_patient), honest)
        return cls(task, space.space_id, images_per_patient, noise, honest, float(delta), max_patients, unit)

    @classmethod
    def of_terms(cls, terms: Terms, space: Space) -> Self:
        """Return the release that a round is about, after comparing all that the terms say with it.

        Args:
            terms: Those of the round.
            space: The space that came with them.

        Raises:
            PolicyError: If sketches of the space cannot be pooled, or have no bounded sensitivity.
            SpaceMismatchError: If the release is in another space.
            TermsError: If length, bound or noise of the terms are not those of such a release, or it relies
                on more honest sites than the terms guarantee.
        """
        release = cls.from_json(terms.purpose)
        require_poolable(space)
        if not release.is_exact:
            release.rho(space)
        length, bound = release.length(space), release.bound(space, terms.n)
        _expect(f"length, which is {length:,} in this space,", terms.length, terms.length == length)
        _expect(f"bound, which is {bound:,} for such a sum,", terms.bound, terms.bound == bound)
        sure = terms.honest
        _expect(f"honest, of which {sure} are sure,", release.honest, release.honest <= sure)
        return release

    @property
    def is_exact(self) -> bool:
        """Whether nobody adds noise."""
        return not self.noise

    @cached_property
    def weight(self) -> int:
        """What all images of a patient count together; 1 where every image counts by itself."""
        return 1 if self.is_exact else total_weight(self.images_per_patient)

    def to_json(self) -> dict[str, Any]:
        """Return the purpose of a round."""
        return {"purpose": PURPOSE, **asdict(self), "noise": dict(self.noise)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` returned, checking it.

        Raises:
            TermsError: If anything is missing, unknown, of the wrong type or impossible.
        """
        content = dict(value)
        purpose = content.pop("purpose", None)
        _expect("purpose", purpose, purpose == PURPOSE)
        try:
            release = cls(**content)
            complete = release.to_json() == dict(value)
        except (TypeError, AttributeError) as error:
            raise TermsError(
                "what a round shall sum is malformed", remedy="use the same fedprint version everywhere"
            ) from error
        _expect("what a round shall sum", sorted(content), complete)
        return release

    def layout(self, space: Space) -> dict[str, tuple[int, ...]]:
        """Return ``kind.array`` → shape, in the order of the vector.

        Raises:
            SpaceMismatchError: If the release is in another space.
        """
        self._require(space)
        return sketch_vector.layout(space)

    def length(self, space: Space) -> int:
        """Return how many integers a site contributes."""
        return sum(math.prod(shape) for shape in self.layout(space).values())

    def rho(self, space: Space) -> Fraction:
        """Return what a patient pays, from sensitivities and the variances of the shares.

        Raises:
            BudgetError: If the sum is exact, which no budget pays for.
            PolicyError: If a sketch has no bounded sensitivity.
            SpaceMismatchError: If the release is in another space.
            TermsError: If an array has no noise, or noise is named for one that is not there.
        """
        if self.is_exact:
            raise BudgetError(
                f"an exact sum of {self.task} has no price in privacy", remedy="give every array noise"
            )
        found, expected = set(self.noise), set(self.layout(space))
        _expect("noise in", sorted(found), found == expected)
        return cost_of_shares(zeros(space), self.noise, self.weight, self.honest)

    def bound(self, space: Space, n_members: int) -> int:
        """Return a magnitude that no number of any site's vector exceeds.

        Patients times what one can move a number, and twelve standard deviations of a site's noise. Where an
        exact sketch has no bound per image, it is what 64 bits hold for so many sites.

        Args:
            space: The space.
            n_members: How many sites the cohort has.

        Raises:
            PolicyError: If a sketch that gets noise has no bounded sensitivity.
            SpaceMismatchError: If the release is in another space.
        """
        self._require(space)
        sketches = zeros(space)
        try:
            moved = largest_moves(sketches, self.weight)
        except PolicyError:
            if not self.is_exact:
                raise
            return (2**63 - 1) // n_members
        return max(
            self.max_patients * most + _BEYOND * root(self.noise.get(name, 0)) for name, most in moved.items()
        )

    @staticmethod
    def to_vector(sketches: Mapping[str, Sketch]) -> IntVector:
        """Return what a site contributes before noise.

        Args:
            sketches: Kind → sketch.

        Returns:
            int64 [length], the arrays by name.
        """
        return sketch_vector.to_vector(sketches)

    def from_vector(self, total: IntVector, space: Space, noise: Noise = EXACT) -> dict[str, Sketch]:
        """Return the sketches, bound to the space, that a vector or a sum of vectors holds.

        Args:
            total: int64 [length].
            space: The space.
            noise: ``kind.array`` → variance of the noise in it, ``total_noise`` for the opened sum.

        Raises:
            FingerprintError: If no images can have these sketches.
            SpaceMismatchError: If the release is in another space.
            VectorError: If it has another length or type.
        """
        self._require(space)
        return sketch_vector.from_vector(total, space, noise)

    def total_noise(self, contributors: int) -> dict[str, int]:
        """Return ``kind.array`` → variance of the noise in a sum of so many contributions."""
        return {name: contributors * share for name, share in self.noise.items()}

    def statement(self, space: Space, contributors: int) -> PrivacyStatement:
        """Return what protects the patients of an opened sum.

        Args:
            space: The space.
            contributors: How many sites' vectors were summed.

        Raises:
            CohortTooSmallError: If they are fewer than three, or than are relied upon.
        """
        least = max(SMALLEST_COHORT, self.honest)
        if contributors < least:
            raise CohortTooSmallError(
                f"a sum of {contributors} sites, expected at least {least}", remedy="do not open it"
            )
        if self.is_exact:
            return PrivacyStatement(TrustMode.POOLED, sites=contributors)
        rho = self.rho(space)
        return PrivacyStatement(
            mode=TrustMode.POOLED,
            mechanism=DISTRIBUTED_GAUSSIAN,
            unit=self.unit,
            neighbours=NEIGHBOURS,
            rho=str(rho),
            eps=eps_of(rho, self.delta),
            delta=self.delta,
            images_per_patient=self.images_per_patient,
            weight=self.weight,
            cohorts=1,
            edges=space.reference,
            noise=self.total_noise(contributors),
            sites=contributors,
            honest=self.honest,
        )

    def require_unit(self, unit: str) -> None:
        """Raise unless a site that hides such units keeps what the statement will say.

        Args:
            unit: ``"patient"``, or ``"image"`` where the site does not know whose images belong together.

        Raises:
            PolicyError: If the statement will speak of patients and the site knows only images.
        """
        if self.unit == "patient" and unit != "patient":
            raise PolicyError(
                f"the sum of {self.task} is to hide patients, but nobody knows here which images are whose",
                remedy='name the patients of the dataset, or let the cohort pool with unit = "image"',
            )

    def _require(self, space: Space) -> None:
        if space.space_id != self.space_id:
            raise SpaceMismatchError(
                f"the sum of {self.task} is about space {self.space_id[:12]}, not {space.space_id[:12]}",
                remedy="send the space with its request",
            )


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_id(value: str) -> bool:
    return _HEX.fullmatch(value) is not None


def _expect(name: str, value: object, sound: bool) -> None:
    if not sound:
        raise TermsError(
            f"a pooled release cannot have {name} = {str(value)[:120]}", remedy="correct the cohort's terms"
        )
