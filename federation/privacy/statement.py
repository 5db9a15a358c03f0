"""What protects the patients behind a fingerprint, in numbers that anyone can check."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any, Self

from federation.errors import FingerprintError
from federation.trust import TrustMode

EXACT_MECHANISM = "none"
DISCRETE_GAUSSIAN = "discrete Gaussian"
DISTRIBUTED_GAUSSIAN = "distributed discrete Gaussian"
NEIGHBOURS = "add or remove one"
UNITS = ("patient", "image")
"""Whose presence noise hides."""

_MAX_VARIANCE = 2**62
_OF_EXACT = ("mode", "mechanism", "unit")
_OF_POOLED = ("sites", "honest")
_FRACTION = re.compile(r"[0-9]{1,240}(/0*[1-9][0-9]{0,239})?", re.ASCII)


@dataclass(frozen=True)
class PrivacyStatement:
    """What protects the patients behind a fingerprint.

    Args:
        mode: The trust mode it was released under.
        mechanism: The privacy mechanism, ``"none"`` for exact sketches.
        unit: Whose presence the mechanism hides: ``"patient"``, or ``"image"`` where the site does not know
            which images belong together and each counts as a patient of its own. Empty without a mechanism.
        neighbours: Which two datasets the mechanism makes hard to tell apart.
        rho: What the release cost, in zero-concentrated differential privacy (Bun & Steinke 2016), an exact
            fraction such as ``"3/125"``.
        eps: The ε that follows from ``rho`` at ``delta``.
        delta: The δ at which ``eps`` is stated.
        images_per_patient: At most this many images of a patient are used, each once.
        weight: What all images of a patient count together in the sketches.
        cohorts: Of how many releases about disjoint groups of patients this is the sum; every patient is in
            one of them at most.
        edges: Where the bin edges, thresholds and norms come from: public images, which no patient has
            influenced, or a cohort's histogram, which has been paid for by itself.
        noise: ``kind.array`` → variance of the noise in every number of that array, in its units squared.
        ledger_seq: Position of the charge in the site's ledger.
        ledger_hash: SHA-256 of that entry, which anchors the ledger outside the site.
        sites: Of how many sites' contributions this is the sum; 0 where no cohort pooled any.
        honest: How many of them are relied upon to have added their share of the noise and to keep it secret;
            ``rho`` counts no other. 0 without shares of noise.
    """

    mode: TrustMode
    mechanism: str = EXACT_MECHANISM
    unit: str = ""
    neighbours: str = ""
    rho: str = "0"
    eps: float = 0.0
    delta: float = 0.0
    images_per_patient: int = 0
    weight: int = 1
    cohorts: int = 0
    edges: str = ""
    noise: Mapping[str, int] = field(default_factory=dict)
    ledger_seq: int | None = None
    ledger_hash: str = ""
    sites: int = 0
    honest: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether the sketches carry no noise."""
        return self.mechanism == EXACT_MECHANISM

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values.

        An exact fingerprint says only mode, mechanism and unit; how many sites, a pooled one alone.
        """
        stated = {**asdict(self), "noise": dict(self.noise)}
        kept = set(_OF_EXACT if self.is_exact else stated) - set(_OF_POOLED)
        if self.mode is TrustMode.POOLED:
            kept |= {"sites"} if self.is_exact else set(_OF_POOLED)
        return {key: value for key, value in stated.items() if key in kept}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read a statement, checking every field.

        Raises:
            FingerprintError: If a field is unknown, of the wrong type or impossible.
        """
        unknown = sorted(set(value) - {f.name for f in fields(cls)})
        if unknown:
            raise FingerprintError(
                f"privacy statement has unknown fields: {unknown}", remedy="update fedprint"
            )
        statement = cls(**{**value, "mode": TrustMode(value["mode"])})
        statement._check()
        return statement

    def _check(self) -> None:
        texts = (self.mechanism, self.unit, self.neighbours, self.rho, self.edges, self.ledger_hash)
        counts = [self.images_per_patient, self.weight, self.cohorts, self.sites, self.honest]
        counts += self.noise.values()
        if not all(isinstance(text, str) and len(text) <= 500 for text in texts):
            raise FingerprintError("privacy statement: a text is no string or longer than 500")
        if not _FRACTION.fullmatch(self.rho):
            raise FingerprintError(f"privacy statement: ρ = {self.rho!r} is no fraction such as 3/125")
        if not all(type(count) is int and 0 <= count < _MAX_VARIANCE for count in counts):
            raise FingerprintError("privacy statement: counts and variances must be whole and not negative")
        if not all(type(x) in (int, float) and math.isfinite(x) for x in (self.eps, self.delta)):
            raise FingerprintError("privacy statement: ε and δ must be finite numbers")
        if self.weight < 1 or 0 in self.noise.values() or Fraction(self.rho) < 0:
            raise FingerprintError("privacy statement: weights, variances and ρ must be positive")
        if self.is_exact != (not self.noise) or self.is_exact != (Fraction(self.rho) == 0):
            raise FingerprintError(
                f"a privacy statement of mechanism {self.mechanism!r} names ρ = {self.rho} and noise in "
                f"{len(self.noise)} arrays"
            )
        self._check_sum()

    def _check_sum(self) -> None:
        if (self.mode is TrustMode.POOLED) != (self.sites > 0) or self.honest > self.sites:
            raise FingerprintError(
                f"a privacy statement of mode {self.mode.value!r} is about the sum of {self.sites} sites, "
                f"{self.honest} of them honest"
            )
        if (self.mechanism == DISTRIBUTED_GAUSSIAN) != (self.honest > 0):
            raise FingerprintError(
                f"a privacy statement of mechanism {self.mechanism!r} relies on {self.honest} honest sites"
            )
