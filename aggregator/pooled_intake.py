"""Whether a fingerprint that is a sum over a cohort says of it what can be."""

from fractions import Fraction

from federation.errors import IntakeError
from federation.fingerprint import Fingerprint
from federation.privacy.distributed import SMALLEST_SHARE
from federation.privacy.shares import cost_of_shares
from federation.privacy.statement import PrivacyStatement
from federation.secagg.terms import SMALLEST_COHORT


def check_sites(stated: PrivacyStatement) -> None:
    """Raise unless a sum is that of enough sites to hide each of them.

    Args:
        stated: Of mode pooled, exact or with noise.

    Raises:
        IntakeError: If not.
    """
    if stated.sites < SMALLEST_COHORT:
        raise IntakeError(
            f"it is the sum of {stated.sites} sites, expected at least {SMALLEST_COHORT}",
            remedy="a sum of fewer does not hide them from each other; pool more sites",
        )


def least_rho(fingerprint: Fingerprint) -> Fraction:
    """Return what the noise that a sum states costs if only its honest sites' shares count.

    Args:
        fingerprint: Bound to its space, with noise stated for every array.

    Raises:
        IntakeError: If the noise is no whole share of every site, or a share is smaller than may be.
        PolicyError: If a sketch has no bounded sensitivity.
    """
    stated = fingerprint.privacy
    for name, variance in stated.noise.items():
        share, rest = divmod(variance, stated.sites)
        if rest or share < SMALLEST_SHARE:
            raise IntakeError(
                f"it states noise of variance {variance} in {name}, expected {stated.sites} equal shares of "
                f"at least {SMALLEST_SHARE}",
                remedy="every site of a sum adds the same whole share",
            )
    shares = {name: variance // stated.sites for name, variance in stated.noise.items()}
    return cost_of_shares(fingerprint.sketches, shares, stated.weight, stated.honest)
