"""What all images of a patient count together, whatever their number."""

import math

from federation.errors import PolicyError

MAX_IMAGES_PER_PATIENT = 10
"""lcm(1, …, 10) is 2,520; one more would make it 27,720, and every count as much larger."""


def total_weight(images_per_patient: int) -> int:
    """Return lcm(1, …, k), which k images or any fewer share out evenly.

    Raises:
        PolicyError: If k is not in 1 to 10.
    """
    if not 1 <= images_per_patient <= MAX_IMAGES_PER_PATIENT:
        raise PolicyError(
            f"images_per_patient is {images_per_patient}, expected 1 to {MAX_IMAGES_PER_PATIENT}",
            remedy="a patient weighs the same with any number of images; 4 is usually enough to describe one",
        )
    return math.lcm(*range(1, images_per_patient + 1))
