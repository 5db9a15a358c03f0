"""The only way out of a site: policy, then signature, then the site's own record, then the reply."""

from collections.abc import Mapping
from dataclasses import dataclass

import federation
from federation.errors import PolicyError, TrustModeError
from federation.fingerprint import Fingerprint, Provenance
from federation.identity import Identity
from federation.privacy.statement import PrivacyStatement
from federation.sampling import SamplingPlan
from federation.sketches import Sketch
from federation.space import Space
from federation.task_card import TaskCard
from federation.trust import TrustMode
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


def check_mode(task: str, mode: TrustMode) -> None:
    """Raise unless this version can release a task under its trust mode.

    Raises:
        TrustModeError: For modes that are not available yet: nothing leaves then.
    """
    if not mode.available:
        raise TrustModeError(
            f"task {task}: trust mode {mode.value!r} is not available yet",
            remedy="use 'listen' (nothing leaves) or, for public data only, 'open'",
        )


def release(
    candidate: Candidate, mode: TrustMode, identity: Identity, state: SiteState, job_id: str
) -> bytes:
    """Return the signed fingerprint that may leave, after storing it under its job.

    Raises:
        PolicyError: If the mode does not let anything leave.
        StoreError: If the release cannot be recorded; then nothing leaves.
    """
    task = candidate.card.task
    check_mode(task, mode)
    if mode is not TrustMode.OPEN:
        raise PolicyError(f"task {task}: trust mode {mode.value!r} releases nothing")
    fingerprint = candidate.fingerprint(identity.name, mode).signed_by(identity)
    encoded = fingerprint.to_bytes()
    state.keep_release(job_id, task, encoded)
    state.record("released", job=job_id, task=task, mode=mode.value, fingerprint=fingerprint.fingerprint_id)
    return encoded
