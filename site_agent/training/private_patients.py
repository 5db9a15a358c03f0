"""Which patient is in which batch, and with which images: rules that look at one patient alone.

A patient who comes or goes then changes one batch of an epoch and no other patient's part in it, which is
what the price of an epoch rests on (docs/privacy-proofs.md#a-trained-model).
"""

import hashlib
from dataclasses import dataclass, field

from federation.errors import TrainingError
from federation.transfer.recipe import Recipe
from site_agent.data import ImageSource
from site_agent.patients import images_by_patient, is_known
from site_agent.training.streams import stream_seed

_BYTES = 2**27  # of gradients per image that are held at a time
_MOST_IMAGES = 32


@dataclass(frozen=True)
class Patient:
    """Somebody whose images are trained on; an image that belongs to nobody known is a patient's own.

    Args:
        images: Positions of the images that are used, in a fixed order.
        stream: Names the patient's own chance in this epoch, from the seed and the patient alone.
    """

    images: tuple[int, ...] = field(repr=False)
    stream: int = field(repr=False)


def batches_of_patients(
    source: ImageSource, images_per_patient: int, n_batches: int, seed: int, epoch: int
) -> list[list[Patient]]:
    """Cut the patients into batches by a seeded hash of each, anew in every epoch.

    Args:
        source: The training images.
        images_per_patient: Most images of one patient that are used: those with the smallest seeded hash of
            their names, the same in every epoch.
        n_batches: How many batches there are; some may be empty.
        seed: Repetition; it is public.
        epoch: Number of the epoch.
    """
    batches: list[list[Patient]] = [[] for _ in range(n_batches)]
    for own in images_by_patient(source):
        who = _who(source, own)
        images = tuple(sorted(own, key=lambda index: _preference(source, index, seed))[:images_per_patient])
        batch = stream_seed("private-batch", seed, epoch, who) % n_batches
        batches[batch].append(Patient(images, stream_seed("private-images", seed, epoch, who)))
    return [sorted(batch, key=lambda patient: patient.stream) for batch in batches]


def public_batches(recipe: Recipe) -> int:
    """Return how many batches an epoch has: a number that the recipe says and the data do not.

    Raises:
        TrainingError: If the recipe leaves it to the data.
    """
    if recipe.draws is None:
        raise TrainingError(
            "a recipe of private training leaves open how many batches an epoch has, which would tell how "
            "many images there are",
            remedy="give draws, about the number of patients as far as it is public; it is not read off data",
        )
    return max(1, round(recipe.draws / recipe.batch_size))


def images_at_a_time(n_parameters: int, images_per_patient: int) -> int:
    """Return how many images the network sees together: as many as their gradients' memory allows.

    Args:
        n_parameters: How many numbers are trained.
        images_per_patient: Most images of one patient, who is never divided.
    """
    return max(2, images_per_patient, min(_MOST_IMAGES, _BYTES // (4 * n_parameters)))


def _who(source: ImageSource, own: list[int]) -> str:
    patient = "" if source.patients is None else source.patients[own[0]].strip()
    return f"patient {patient}" if is_known(patient) else f"image {source.name(own[0])}"


def _preference(source: ImageSource, index: int, seed: int) -> tuple[bytes, str, int]:
    name = source.name(index)
    return hashlib.sha256(f"{seed} {name}".encode()).digest(), source.listing.stamps[index], index
