"""What the aggregator checks before a fingerprint may enter the catalogue."""

from federation.errors import FedprintError, IntakeError
from federation.fingerprint import Fingerprint
from federation.space import Space


def admit(encoded: bytes, site: str, task: str, public_key: str, space: Space) -> Fingerprint:
    """Return the fingerprint in these bytes if every check holds, bound to its space.

    Args:
        encoded: What the site sent.
        site: The site that signed the reply.
        task: The task the reply names.
        public_key: The site's key in the roster.
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


def _check_content(fingerprint: Fingerprint, site: str, task: str) -> None:
    if (fingerprint.site, fingerprint.card.task) != (site, task):
        raise IntakeError(f"it describes {fingerprint.key}")
    for kind, sketch in fingerprint.sketches.items():
        if sketch.n < 1:
            raise IntakeError(f"its {kind} sketch was made from no image")
        if sketch.n != fingerprint.card.n_images:
            raise IntakeError(
                f"its {kind} sketch counts {sketch.n} images, its card {fingerprint.card.n_images}"
            )
