"""Choosing the images of one split, and refusing what is no classification task."""

from collections import Counter

import numpy as np

from federation.errors import DataError
from site_agent.data.source import ImageSource

EVERYTHING = "all"
_TRAINING = ("train", "training")


def select_split(source: ImageSource, wanted: str | None) -> ImageSource:
    """Return the images of one split.

    Args:
        source: The whole dataset.
        wanted: Name of the split; ``all`` for everything; None for ``train`` where there are splits.

    Raises:
        DataError: If there is no such split; the message lists those there are.
    """
    if wanted == EVERYTHING or (wanted is None and source.splits is None):
        return source
    known = Counter(source.splits or ())
    chosen = wanted if wanted is not None else next(filter(_is_training, known), None)
    if chosen not in known:
        found = ", ".join(f"{split!r} ({n} images)" for split, n in known.items()) or "none"
        raise DataError(
            f"{source.origin}: split {wanted or 'train'!r} does not exist; splits found: {found}",
            remedy=f"set split to one of them, or to {EVERYTHING!r}",
        )
    return source.subset(np.flatnonzero(np.array(source.splits) == chosen))


def require_two_classes(source: ImageSource) -> ImageSource:
    """Return the source if it holds images of at least two classes.

    Raises:
        DataError: If it does not.
    """
    classes = [name for name, n in source.class_counts().items() if n]
    if len(classes) < 2:
        found = f"only the class {classes[0]!r}" if classes else "no images"
        raise DataError(
            f"{source.origin} holds {found}",
            remedy="a task needs images of at least two classes; check folder names, label column or split",
        )
    return source


def _is_training(split: str) -> bool:
    return split.lower() in _TRAINING
