"""What a catalogue returns of its fingerprints and their distances."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.fingerprint import Fingerprint
from federation.names import task_key

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Border:
    """Distances of one fingerprint to and from those that entered its space before it.

    Args:
        to_earlier: float64 [k + 1], this one as source; the last entry is its distance to itself.
        from_earlier: float64 [k], this one as target.
    """

    to_earlier: Values
    from_earlier: Values


@dataclass(frozen=True)
class Entry:
    """An accepted fingerprint and its place in the catalogue.

    Args:
        seq: Order of arrival.
        fingerprint_id: SHA-256 of the signed fingerprint.
        current: False once the site has sent a newer one for the same task.
        received_at: Unix time of arrival.
        fingerprint: The fingerprint, whole and bound to its space, or without its sketches.
    """

    seq: int
    fingerprint_id: str
    current: bool
    received_at: float
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Listing:
    """What the catalogue knows of a fingerprint without reading its sketches.

    Args:
        seq: Order of arrival.
        fingerprint_id: SHA-256 of the signed fingerprint.
        site: Name of the site.
        task: Name of the task.
        current: False once the site has sent a newer one for the same task, or withdrawn it.
        received_at: Unix time of arrival.
    """

    seq: int
    fingerprint_id: str
    site: str
    task: str
    current: bool
    received_at: float

    @property
    def key(self) -> str:
        """Address of the task in the consortium: ``site/task``."""
        return task_key(self.site, self.task)
