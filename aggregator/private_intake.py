"""Whether a fingerprint with noise is what its privacy statement says, as far as anybody can tell from it.

The noise itself cannot be seen, but what it would cost can be computed from the variances that the statement
names, and the numbers must lie where noise of these variances leaves them.
"""

import math
from fractions import Fraction

import numpy as np

from aggregator.pooled_intake import least_rho
from federation.errors import IntakeError
from federation.fingerprint import Fingerprint
from federation.privacy.accounting import eps_of, rho_of
from federation.privacy.statement import (
    DISCRETE_GAUSSIAN,
    DISTRIBUTED_GAUSSIAN,
    NEIGHBOURS,
    UNITS,
    PrivacyStatement,
)
from federation.privacy.weight import MAX_IMAGES_PER_PATIENT, total_weight
from federation.sketches import HistogramSketch, Sketch, encode_arrays
from federation.trust import TrustMode

_BAND = 6.0  # standard deviations between two row totals
_BEYOND = 8.0  # standard deviations that none of a million numbers deviates
_ROUNDING = 1e-6
_ROUNDED_UP = 1.01  # a site may state more ε than follows from ρ, rounded against itself
_HASH_LENGTH = 64


def check_noise(fingerprint: Fingerprint) -> None:
    """Raise unless statement, card and sketches of a noisy fingerprint agree.

    Args:
        fingerprint: Bound to its space; every sketch counts at least one image.

    Raises:
        IntakeError: Naming the check that failed.
        PolicyError: If a sketch has no bounded sensitivity, so that no noise protects it.
        BudgetError: If ρ or δ are out of range.
    """
    _check_complete(fingerprint)
    _check_rho(fingerprint)
    _check_eps(fingerprint.privacy)
    _check_number_of_images(fingerprint)
    for kind, sketch in fingerprint.sketches.items():
        _check_numbers(kind, sketch)
        _check_noise_is_there(kind, sketch)
        if isinstance(sketch, HistogramSketch):
            _check_rows(sketch)


def _check_complete(fingerprint: Fingerprint) -> None:
    stated = fingerprint.privacy
    pooled = stated.mode is TrustMode.POOLED
    mechanism = DISTRIBUTED_GAUSSIAN if pooled else DISCRETE_GAUSSIAN
    _require_noise_everywhere(fingerprint)
    possible = 1 <= stated.images_per_patient <= MAX_IMAGES_PER_PATIENT
    for name, value, sound in (
        ("mechanism", stated.mechanism, stated.mechanism == mechanism),
        ("unit", stated.unit, stated.unit in UNITS),
        ("neighbours", stated.neighbours, stated.neighbours == NEIGHBOURS),
        ("delta", stated.delta, 0 < stated.delta * fingerprint.card.n_images < 1),
        ("images_per_patient", stated.images_per_patient, possible),
        ("weight", stated.weight, possible and stated.weight == total_weight(stated.images_per_patient)),
        ("cohorts", stated.cohorts, stated.cohorts == 1 if pooled else stated.cohorts >= 1),
        ("edges", stated.edges, bool(stated.edges.strip())),
        *(() if pooled else _of_a_ledger(stated)),  # a sum was charged to as many ledgers as it has sites
    ):
        if not sound:
            raise IntakeError(
                f"its privacy statement says {name} = {value!r}, which is missing or impossible for "
                f"{fingerprint.card.n_images} {stated.unit or 'patient'}s",
                remedy="ask the site to release it again with this version of fedprint",
            )


def _of_a_ledger(stated: PrivacyStatement) -> tuple[tuple[str, object, bool], ...]:
    known = type(stated.ledger_seq) is int and stated.ledger_seq >= 0
    return (
        ("ledger_seq", stated.ledger_seq, known),
        ("ledger_hash", stated.ledger_hash, len(stated.ledger_hash) == _HASH_LENGTH),
    )


def _require_noise_everywhere(fingerprint: Fingerprint) -> None:
    arrays, noise = set(encode_arrays(fingerprint.sketches)), set(fingerprint.privacy.noise)
    if arrays != noise:
        raise IntakeError(
            f"its privacy statement names noise in {sorted(noise)}, its arrays are {sorted(arrays)}",
            remedy="every array of a private fingerprint carries noise",
        )


def _check_rho(fingerprint: Fingerprint) -> None:
    """Compare the stated cost with the least that the stated noise can have cost."""
    stated = fingerprint.privacy
    least = least_rho(fingerprint) if stated.mode is TrustMode.POOLED else _least_rho_of_cohorts(fingerprint)
    if Fraction(stated.rho) < least:
        raise IntakeError(
            f"it claims ρ = {float(Fraction(stated.rho)):.6g}, but noise of the variances it states costs "
            f"{float(least):.6g}: it protects patients less than it says",
            remedy="ask the site to correct its release; what was sent cannot be taken back",
        )


def _least_rho_of_cohorts(fingerprint: Fingerprint) -> Fraction:
    """Return what the dearest cohort of a site's own release cost at least.

    Noise adds up over cohorts and a patient pays for one of them. However it was divided, the dearest cohort
    cost at least as much as if all had the same, because 1/σ² is convex.
    """
    stated = fingerprint.privacy
    per_cohort = sum(
        (
            rho_of(bound.l2_squared, sketch.noise[array])
            for sketch in fingerprint.sketches.values()
            for array, bound in sketch.sensitivity(stated.weight).items()
        ),
        Fraction(0),
    )
    return stated.cohorts * per_cohort


def _check_eps(stated: PrivacyStatement) -> None:
    eps = eps_of(Fraction(stated.rho), stated.delta)
    if not eps * (1 - _ROUNDING) <= stated.eps <= eps * _ROUNDED_UP:
        raise IntakeError(
            f"it claims ε = {stated.eps:g} at δ = {stated.delta:g}, but its ρ gives {eps:.6g}",
            remedy="ask the site to release it again with this version of fedprint",
        )


def _check_number_of_images(fingerprint: Fingerprint) -> None:
    """The card says what the first sketch says; the others may differ from it by noise."""
    n, weight, sketches = fingerprint.card.n_images, fingerprint.privacy.weight, fingerprint.sketches
    deviations = {kind: _deviation_of_count(sketch) for kind, sketch in sketches.items()}
    first = min(sketches)
    for kind, sketch in sorted(sketches.items()):
        noise = 0.0 if kind == first else _BEYOND * (deviations[kind] + deviations[first])
        if n < 1 or abs(sketch.n - n * weight) > weight / 2 + noise:
            raise IntakeError(
                f"its {kind} sketch counts {sketch.n / weight:.6g} patients, its card {n}",
                remedy="the card of a private fingerprint says of numbers what the noisy sketches say",
            )


def _deviation_of_count(sketch: Sketch) -> float:
    """Return the standard deviation of a sketch's number of images."""
    if isinstance(sketch, HistogramSketch):
        return math.sqrt(sketch.noise["counts"] * sketch.n_bins / sketch.n_features)
    return math.sqrt(sketch.noise.get("n_images", 0))


def _check_numbers(kind: str, sketch: Sketch) -> None:
    """No image moves a number farther than the sensitivity of one image, so that n of them bound it."""
    n = sketch.n + _BEYOND * _deviation_of_count(sketch)
    of_one_image = sketch.sensitivity(1)
    for name, array in sketch.arrays().items():
        noise = _BEYOND * math.sqrt(sketch.noise[name])
        counted = isinstance(sketch, HistogramSketch)  # every cell holds none to all of the images
        most = n * (1.0 if counted else math.sqrt(of_one_image[name].l2_squared)) + noise
        least = -noise if counted else -most
        if array.min() < least or array.max() > most:
            raise IntakeError(
                f"{kind}.{name} holds {array.min():,} to {array.max():,}, but with its noise "
                f"{sketch.n:,} images give {least:,.0f} to {most:,.0f}"
            )


def _check_noise_is_there(kind: str, sketch: Sketch) -> None:
    """Numbers with noise are at least as large as noise alone makes them.

    Σ(q + z)² = Σq² + 2Σqz + Σz² where the middle term deviates by 2σ√Σq². Whatever Σq² is, eight deviations
    take away 64 σ² of the first two at most, and 8√(2s) σ² of the last. Who states more noise than there is
    would be given the difference as a bonus: distances are lowered by what stated noise adds to them.
    """
    for name, array in sketch.arrays().items():
        variance, size = sketch.noise[name], array.size
        found = float(np.square(array, dtype=np.float64).sum())
        least = variance * (size - _BEYOND * math.sqrt(2 * size) - _BEYOND**2)
        if found < least:
            raise IntakeError(
                f"{kind}.{name} is said to carry noise of variance {variance:,}, but its mean square is only "
                f"{found / size:,.4g}: there is less noise in it than it says"
            )


def _check_rows(sketch: HistogramSketch) -> None:
    """Every row counts the same images, so that noise alone makes their totals differ, and must."""
    totals = sketch.counts.sum(axis=1)
    spread = int(np.ptp(totals))
    free, unit = len(totals) - 1, sketch.n_bins * sketch.noise["counts"]
    if float(np.var(totals)) * len(totals) < unit * (free - _BEYOND * math.sqrt(2 * free)):
        raise IntakeError(
            f"the rows of its histogram differ by {spread:,} images at most, which is less than the noise it "
            "states makes of them"
        )
    allowed = _BAND * math.sqrt(2 * sketch.n_bins * sketch.noise["counts"])
    if spread > allowed:
        raise IntakeError(
            f"the rows of its histogram differ by up to {spread:,} images, its noise explains {allowed:,.0f}"
        )
