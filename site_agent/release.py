"""What may leave a site, and the release of exact sketches: signature, the site's own record, reply."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import federation
from federation.fingerprint import Fingerprint, Provenance
from federation.identity import Identity
from federation.privacy.statement import PrivacyStatement
from federation.sampling import SamplingPlan
from federation.sketches import Sketch
from federation.space import Space
from federation.task_card import TaskCard
from federation.trust import TrustMode
from site_agent.events import RELEASED
from site_agent.state import SiteState


@dataclass(frozen=True)
class Candidate:
    """What would leave the site if the policy allows it.

    Args:
        card: Public description of the task.
        sketches: The exact sketches by kind.
        space: The space of the sketches.
        sampling: Which images were drawn.
        arithmetic: How the network was executed.
        n_unreadable: Images that could not be read.
    """

    card: TaskCard
    sketches: Mapping[str, Sketch]
    space: Space
    sampling: SamplingPlan
    arithmetic: str
    n_unreadable: int

    def fingerprint(self, site: str, mode: TrustMode) -> Fingerprint:
        """Return the unsigned fingerprint with the exact sketches."""
        return Fingerprint(
            site=site,
            card=self.card,
            space_id=self.space.space_id,
            sketches=self.sketches,
            privacy=PrivacyStatement(mode),
            provenance=Provenance(federation.__version__, self.sampling, self.arithmetic, self.n_unreadable),
        )


def noisy_fingerprint(
    site: str,
    card: TaskCard,
    space: Space,
    sketches: Mapping[str, Sketch],
    privacy: PrivacyStatement,
    arithmetic: str,
) -> Fingerprint:
    """Return the unsigned fingerprint of a task with noisy sketches.

    The card says of numbers only what the noisy sketches say; how many images were unreadable is not told.

    Args:
        site: Name of the site.
        card: What somebody at the site allowed to leave in words.
        space: The space of the sketches.
        sketches: Kind → noisy sketch.
        privacy: What protects the patients.
        arithmetic: How the network was executed.
    """
    n_patients = max(1, round(sketches[min(sketches)].n / privacy.weight))
    return Fingerprint(
        site=site,
        card=replace(card, n_images=n_patients),
        space_id=space.space_id,
        sketches=sketches,
        privacy=privacy,
        provenance=Provenance(federation.__version__, SamplingPlan(None), arithmetic, None),
    )


def release_openly(candidate: Candidate, identity: Identity, state: SiteState, job_id: str) -> bytes:
    """Return the signed fingerprint with exact sketches, after storing it under its job.

    The site's policy must have allowed it.

    Raises:
        StoreError: If the release cannot be recorded; then nothing leaves.
    """
    task, mode = candidate.card.task, TrustMode.OPEN
    fingerprint = candidate.fingerprint(identity.name, mode).signed_by(identity)
    encoded = fingerprint.to_bytes()
    state.keep_release(job_id, task, encoded)
    state.record(RELEASED, job=job_id, task=task, mode=mode.value, fingerprint=fingerprint.fingerprint_id)
    return encoded
