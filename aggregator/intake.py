"""What the aggregator checks before a fingerprint may enter the catalogue."""

from aggregator.pooled_intake import check_sites
from aggregator.private_intake import check_noise
from federation.errors import FedprintError, IntakeError
from federation.fingerprint import Fingerprint
from federation.space import Space
from federation.trust import TrustMode


def admit(encoded: bytes, site: str, task: str, public_key: str, space: Space) -> Fingerprint:
    """Return the fingerprint in these bytes if every check holds, bound to its space.

    Args:
        encoded: What was sent, or made of an opened sum.
        site: The site, or the cohort that it is the sum of.
        task: The task.
        public_key: Whose signature it must bear: the site's in the roster, for a sum the aggregator's own.
        space: The space that was asked for.

    Raises:
        IntakeError: Naming the site, the task and the check that failed.
    """
    try:
        fingerprint = Fingerprint.from_bytes(encoded)
        fingerprint.verify(public_key)
        bound = fingerprint.bind(space)
        _check_content(bound, site, task)
    except FedprintError as error:
        raise IntakeError(
            f"fingerprint {site}/{task} refused: {error.problem}", remedy=error.remedy
        ) from error
    return bound


def admit_reply(encoded: bytes, site: str, task: str, public_key: str, space: Space) -> Fingerprint:
    """Return the fingerprint that a site replied with if every check holds; a site's own is no sum of sites.

    Args:
        encoded: What the site sent.
        site: The site that signed the reply.
        task: The task the reply names.
        public_key: The site's key in the roster.
        space: The space that was asked for.

    Raises:
        IntakeError: Naming the site, the task and the check that failed.
    """
    fingerprint = admit(encoded, site, task, public_key, space)
    if fingerprint.privacy.mode is TrustMode.POOLED:
        raise IntakeError(
            f"fingerprint {site}/{task} refused: it says that it is a sum of several sites, and one sent it",
            remedy="only a round of a cohort opens such a sum; ask the site what it released",
        )
    return fingerprint


def _check_content(fingerprint: Fingerprint, site: str, task: str) -> None:
    if (fingerprint.site, fingerprint.card.task) != (site, task):
        raise IntakeError(f"it describes {fingerprint.key}")
    for kind, sketch in fingerprint.sketches.items():
        if sketch.n < 1:
            raise IntakeError(f"its {kind} sketch was made from no image")
    _check_mode(fingerprint)
    if fingerprint.privacy.is_exact:
        _check_exact_counts(fingerprint)
    else:
        check_noise(fingerprint)


def _check_mode(fingerprint: Fingerprint) -> None:
    mode, exact = fingerprint.privacy.mode, fingerprint.privacy.is_exact
    if mode is TrustMode.LISTEN:
        raise IntakeError("its trust mode is 'listen', in which nothing leaves a site")
    if (mode is TrustMode.PRIVATE and exact) or (mode is TrustMode.OPEN and not exact):
        raise IntakeError(
            f"its trust mode is {mode.value!r}, its mechanism {fingerprint.privacy.mechanism!r}",
            remedy="'open' means exact sketches, 'private' sketches with noise",
        )
    if mode is TrustMode.POOLED:
        check_sites(fingerprint.privacy)


def _check_exact_counts(fingerprint: Fingerprint) -> None:
    for kind, sketch in fingerprint.sketches.items():
        if sketch.n != fingerprint.card.n_images:
            raise IntakeError(
                f"its {kind} sketch counts {sketch.n} images, its card {fingerprint.card.n_images}"
            )
