"""Which images are trained on, chosen by and measured: fixed for a task, and no patient in two parts."""

import bisect
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from federation.errors import TrainingError
from site_agent.data import ImageSource
from site_agent.patients import is_known
from site_agent.training.streams import random_words

Indices = npt.NDArray[np.int64]

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
_SHARES = {TRAIN: 0.6, VALIDATION: 0.2, TEST: 0.2}
_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
_SALT = b"fedprint split 1\0"
_SHARED_PATIENTS = (
    "images of patients who are also in a later part of the data were left out of the earlier one"
)


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a task.

    Args:
        train: int64, positions in the source, ascending.
        validation: int64, for choices among networks and policies.
        test: int64, for final figures alone.
        notes: What a reader of the figures should know.
    """

    train: Indices = field(repr=False)
    validation: Indices = field(repr=False)
    test: Indices = field(repr=False)
    notes: tuple[str, ...] = ()

    def with_train(self, train: Indices) -> "Split":
        """Return the split with other training images (int64)."""
        return replace(self, train=train)

    def part(self, name: str) -> Indices:
        """Return the positions of a part, one of ``PARTS``."""
        found: Indices = getattr(self, name)
        return found


def owner_keys(source: ImageSource) -> list[str]:
    """Return per image whose it is; one whose patient is not known belongs to itself.

    Patient ids and names of images are in it; it never leaves.
    """
    patients = source.patients or ("",) * len(source)
    return [
        f"patient {patient.strip()}" if is_known(patient) else f"image {source.name(index)}"
        for index, patient in enumerate(patients)
    ]


def owner_numbers(source: ImageSource) -> Indices:
    """Return whose each image is, int64 [n], numbered from 0."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in owner_keys(source)], np.int64)


def split_source(source: ImageSource, *, alone: bool = False) -> Split:
    """Divide a task, the same way for every seed.

    Where the data have parts of their own, they are kept, and of missing ones the training images give
    theirs; else 60 % of the images are for training, 20 % for validation, 20 % for the test, by class. A
    patient's images stay together: where the data put a patient into several parts, the test keeps its
    images before validation, and validation before training.

    Args:
        source: The whole task, all its splits.
        alone: Whether every patient's part shall depend on nothing but that patient, as training with a
            guarantee to patients demands; classes are then divided only on average.
    """
    keys = owner_keys(source)
    given = _given_parts(source)
    parts: dict[str, list[int]] = {name: [] for name in PARTS}
    for index, name in enumerate(given):
        if name in parts:
            parts[name].append(index)
    wanted = {name: _SHARES[name] for name in PARTS if name == TRAIN or not parts[name]}
    if len(wanted) > 1:
        pool, parts[TRAIN] = parts[TRAIN], []
        carve = _by_patient_alone if alone else _by_class
        parts |= carve(source.labels, keys, pool, wanted)
    found, shared = _without_shared(parts, keys)
    train, validation, test = (np.array(sorted(found[name]), np.int64) for name in PARTS)
    return Split(train, validation, test, (_SHARED_PATIENTS,) if shared else ())


def training_subset(source: ImageSource, train: Indices, n: int, seed: int) -> Indices:
    """Return about ``n`` training images, as equally many of every class as there are, whole patients first.

    Patients come in an order that the seed decides, and each gives its images until the class is full.

    Args:
        source: The whole task.
        train: int64, positions of the training images.
        n: How many; all where there are fewer.
        seed: Repetition.

    Returns:
        int64, ascending.
    """
    if n >= len(train):
        return train
    labels = source.labels[train]
    quotas = _quotas(np.bincount(labels, minlength=len(source.class_names)), n)
    keys = owner_keys(source)
    rank = {key: position for position, key in enumerate(_shuffled([keys[i] for i in train.tolist()], seed))}
    order = sorted(range(len(train)), key=lambda i: (rank[keys[int(train[i])]], i))
    taken = []
    for i in order:
        if quotas[labels[i]] > 0:
            quotas[labels[i]] -= 1
            taken.append(int(train[i]))
    return np.array(sorted(taken), np.int64)


def require_classes(labels: npt.NDArray[np.int64], part: str) -> None:
    """Refuse a part without at least two classes.

    Raises:
        TrainingError: If it has one or none.
    """
    n = len(np.unique(labels))
    if n < 2:
        raise TrainingError(
            f"one class in a split: the {part} images are of {n} {'class' if n == 1 else 'classes'}, "
            "expected at least 2",
            remedy="use a larger task, or splits that hold every class",
        )


def _given_parts(source: ImageSource) -> list[str | None]:
    """Return the part that the data put each image in; everything is for training where they have none."""
    if source.splits is None:
        return [TRAIN] * len(source)
    named = [_NAMES.get(split.strip().lower()) for split in source.splits]
    return named if TRAIN in named else [TRAIN] * len(source)


def _by_class(
    labels: Indices, keys: Sequence[str], pool: Sequence[int], shares: dict[str, float]
) -> dict[str, list[int]]:
    """Divide patients so that every part gets its share of the images of every class.

    Patients of a class, in the order of their hashes, go one by one where most images of it are lacking.
    """
    parts: dict[str, list[int]] = {name: [] for name in shares}
    total = sum(shares.values())
    strata = defaultdict[int, list[list[int]]](list)
    for own in _groups(keys, pool):
        strata[_usual(labels[own])].append(own)
    for _, groups in sorted(strata.items()):
        seen, given = 0, dict.fromkeys(shares, 0)
        for own in sorted(groups, key=lambda own: _digest(keys[own[0]])):
            seen += len(own)
            name = max(shares, key=lambda part: shares[part] / total * seen - given[part])
            given[name] += len(own)
            parts[name] += own
    return parts


def _by_patient_alone(
    labels: Indices, keys: Sequence[str], pool: Sequence[int], shares: dict[str, float]
) -> dict[str, list[int]]:
    """Divide patients by the hash of each and nothing else."""
    del labels
    parts: dict[str, list[int]] = {name: [] for name in shares}
    limits = np.cumsum(list(shares.values())) / sum(shares.values())
    for index in pool:
        place = int.from_bytes(_digest(keys[index])[:8], "big") / 2**64
        parts[list(shares)[min(int(np.searchsorted(limits, place, "right")), len(shares) - 1)]].append(index)
    return parts


def _without_shared(parts: dict[str, list[int]], keys: Sequence[str]) -> tuple[dict[str, list[int]], bool]:
    """Leave every patient in the last part that has images of theirs; also say whether any were in two."""
    taken: set[str] = set()
    found: dict[str, list[int]] = {}
    for name in reversed(PARTS):
        found[name] = [index for index in parts[name] if keys[index] not in taken]
        taken |= {keys[index] for index in found[name]}
    return found, any(len(found[name]) < len(parts[name]) for name in PARTS)


def _groups(keys: Sequence[str], pool: Sequence[int]) -> list[list[int]]:
    groups = defaultdict[str, list[int]](list)
    for index in pool:
        groups[keys[index]].append(index)
    return list(groups.values())


def _usual(labels: Indices) -> int:
    return int(np.bincount(labels).argmax())


def _digest(key: str) -> bytes:
    return hashlib.sha256(_SALT + key.encode(errors="surrogateescape")).digest()


def _shuffled(keys: Sequence[str], seed: int) -> list[str]:
    distinct = sorted(set(keys), key=_digest)
    return [distinct[i] for i in np.argsort(random_words(len(distinct), seed, "subset"), kind="stable")]


def _quotas(counts: Indices, n: int) -> Indices:
    """Return how many images of each class make ``n``, as equal as the counts allow."""
    most = range(n + 1)
    level = bisect.bisect_right(most, n, key=lambda most: int(np.minimum(counts, most).sum())) - 1
    quotas: Indices = np.minimum(counts, level)
    quotas[np.flatnonzero(counts > level)[: n - int(quotas.sum())]] += 1
    return quotas
