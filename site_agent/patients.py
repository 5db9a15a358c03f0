"""Bounding: every patient weighs the same, however many images there are of them.

Of a patient with j used images each counts W/j times, W = lcm(1, …, k). Whatever j is, the patient's share
of every sketch is then worth W images, so that sketches move at most by their sensitivity for W images; noise
and signal grow by W alike, and bounding costs no more than if everybody had exactly one image.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json, sha256_hex
from federation.privacy.weight import total_weight
from site_agent.data.source import ImageSource

Unit = Literal["patient", "image"]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PatientSample:
    """The images of a task that a private sketch is made from, and how often each counts.

    Args:
        source: The images; their order does not change any sum over them.
        weights: int64 [n], how often each image counts; those of a patient sum to ``weight``.
        owners: int64 [n], whose image each is, patients numbered from 0.
        weight: How often the images of one patient count together.
        unit: Who is protected; ``"image"`` where the dataset does not know whose images it holds.
    """

    source: ImageSource = field(repr=False)
    weights: Indices = field(repr=False)
    owners: Indices = field(repr=False)
    weight: int
    unit: Unit

    @property
    def n_patients(self) -> int:
        """Number of patients; an image that belongs to nobody known is a patient of its own."""
        return self.n_patients_among(np.arange(len(self.owners)))

    def n_patients_among(self, indices: Indices) -> int:
        """Return the number of patients to whom the images at ``indices`` (int64 [k]) belong."""
        return len(np.unique(self.owners[indices]))

    def digest(self) -> str:
        """Return the SHA-256 of what bounding adds to the source."""
        return sha256_hex(canonical_json([self.weight, self.unit]) + self.weights.astype("<i8").tobytes())


def bound_patients(source: ImageSource, images_per_patient: int) -> PatientSample:
    """Return at most so many images of every patient, weighted so that every patient counts the same.

    The images with the smallest SHA-256 of their names are used: a rule that is public and looks at nothing
    but the patient's own images, so that a patient who comes or goes changes no other's choice. An image
    whose patient is not known is a patient of its own.

    Derivation: docs/privacy-proofs.md#patients-with-several-images.

    Args:
        source: The images of a task.
        images_per_patient: k, 1 to 10.

    Raises:
        PolicyError: If k is out of that range.
    """
    weight = total_weight(images_per_patient)
    groups = [_first(source, own, images_per_patient) for own in images_by_patient(source)]
    used = np.array([index for group in groups for index in group], np.int64)
    sizes = np.array([len(group) for group in groups], np.int64)
    order = np.argsort(used)  # neighbours in the listing are often neighbours on the disk
    weights, owners = np.repeat(weight // sizes, sizes), np.repeat(np.arange(len(sizes)), sizes)
    unit: Unit = "image" if source.patients is None else "patient"
    return PatientSample(source.subset(used[order]), weights[order], owners[order], weight, unit)


def is_known(patient: str) -> bool:
    """Return whether a patient id names anybody; DICOM allows it to be empty."""
    return bool(patient.strip())


def images_by_patient(source: ImageSource) -> list[list[int]]:
    """Return the indices of every patient's images; one that belongs to nobody known is a patient's own."""
    if source.patients is None:
        return [[index] for index in range(len(source))]
    known, alone = defaultdict[str, list[int]](list), list[list[int]]()
    for index, patient in enumerate(source.patients):
        if is_known(patient):
            known[patient.strip()].append(index)
        else:
            alone.append([index])
    return [*known.values(), *alone]


def _first(source: ImageSource, own: list[int], k: int) -> list[int]:
    """Return the k images of one patient that the public rule prefers."""

    def preference(index: int) -> tuple[bytes, str, int]:
        name, stamp = source.name(index), source.listing.stamps[index]
        return hashlib.sha256(name.encode()).digest(), stamp, int(source.labels[index])

    return own if len(own) <= k else sorted(own, key=preference)[:k]
