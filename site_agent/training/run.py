"""The training of one step: opened for every slice of time, it goes on where the last one ended."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from federation.errors import TrainingError
from federation.transfer.model import Normalization, Weights
from federation.transfer.result import Progress
from federation.transfer.step import CotrainStep, SearchStep, Step
from site_agent.data import ImageSource
from site_agent.training import IMAGES_FOLDER, head_only
from site_agent.training.augmentation import augmenter
from site_agent.training.checkpoint import Checkpoint
from site_agent.training.epoch import Epoch, Examples, Indices, TrainEpoch
from site_agent.training.head_only import FeatureCache, FeatureExamples
from site_agent.training.images import ImageCache
from site_agent.training.loop import logits_of, new_optimizer, same_arithmetic, train_epoch
from site_agent.training.memory import reported_shortage, require_memory
from site_agent.training.metrics import Measurement, scored
from site_agent.training.networks import (
    Classifier,
    PretrainedWeights,
    build_classifier,
    load_weights,
    saved_weights,
)
from site_agent.training.pixels import Augment, ImageExamples
from site_agent.training.plain_augmentation import plain_augmentation
from site_agent.training.splits import (
    TRAIN,
    Split,
    owner_numbers,
    require_classes,
    split_source,
    training_subset,
)

Device = Literal["auto", "cpu", "cuda"]
Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Surroundings:
    """What a site lends to a training.

    Args:
        pretrained: Its copies of published weights.
        images: Folder of decoded images and features, shared by all steps; they never leave.
        max_unreadable: Largest share of a task's images that may be unreadable.
        device: Where to train; ``"auto"`` is CUDA if there is one.
    """

    pretrained: PretrainedWeights
    images: Path
    max_unreadable: float = 0.2
    device: Device = "auto"


class TrainingRun:
    """A step's training, its state and what it found.

    Several may be active in threads of one process. The same step ends with the same bytes on one machine,
    however often it was interrupted; training with noise for patients alone does not: its noise is secret.
    """

    def __init__(
        self,
        source: ImageSource,
        step: Step,
        folder: Path,
        split: Split,
        classifier: Classifier,
        lent: Surroundings,
    ) -> None:
        self._source, self._step, self._folder = source, step, folder
        self._split, self._lent = split, lent
        self._device = _device(lent.device)
        self._classifier = classifier.to(self._device)
        self._network = self._classifier.head if self._head_only else self._classifier
        if self._device.type == "cuda" or not self._head_only:
            self._classifier.to(memory_format=torch.channels_last)
        self._optimizer = new_optimizer(self._network, step.recipe)
        self._epoch = 0
        self._loss: float | None = None
        self._known: dict[str, Examples] = {}

    @classmethod
    def open(
        cls,
        source: ImageSource,
        step: Step,
        start: Weights | None,
        folder: Path,
        *,
        pretrained: PretrainedWeights,
        device: Device = "auto",
        images: Path | None = None,
        max_unreadable: float = 0.2,
        head: Weights | None = None,
    ) -> Self:
        """Open the training of a step, at its beginning or where it stopped.

        Args:
            source: The whole task, with all its splits.
            step: What to train; of co-training, one round.
            start: Arrays of the model that the step begins at; None where it names none.
            folder: Where this step keeps what it needs to go on.
            pretrained: The site's copies of published weights.
            device: Where to train; ``"auto"`` is CUDA if there is one.
            images: Where decoded images are kept for all steps; None: in ``folder``.
            max_unreadable: Largest share of images that may be unreadable.
            head: Arrays ``weight`` and ``bias`` to begin the head at; None: a new one.

        Raises:
            TrainingError: If a part of the data has fewer than two classes.
            ModelError: If ``start`` does not fit the network, or is missing.
            ExtractorError: If the network is unknown, or its published weights are not at hand.
            MemoryShortError: If it does not fit in memory.
        """
        lent = Surroundings(pretrained, images or folder / IMAGES_FOLDER, max_unreadable, device)
        split = _split(source, step)
        kept = Checkpoint.read(folder, step.step_id)
        if kept is None:
            require_memory(step, _device(device))
        with reported_shortage(step):
            classifier = build_classifier(step, len(source.class_names), start, pretrained)
            if head is not None:
                load_weights(classifier.head, head, "the head of the task")
            run = cls(source, step, folder, split, classifier, lent)
            if kept is not None:
                run._restore(kept)
        return run

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(epoch=self._epoch, epochs=self._step.recipe.epochs, loss=self._loss)

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self._epoch >= self._step.recipe.epochs

    @property
    def n_train(self) -> int:
        """How many images it trains on."""
        return len(self._examples(TRAIN))

    @property
    def n_classes(self) -> int:
        """How many classes its task has."""
        return len(self._source.class_names)

    def advance(self, slice_s: float) -> Progress:
        """Train whole epochs until a slice of time is over, and make that durable.

        Decoding of images counts, and may take slices by itself.

        Args:
            slice_s: Seconds; one epoch is trained even where it is 0, once all images are decoded.

        Raises:
            TrainingError: If training diverges.
            MemoryShortError: If memory runs out.
            DataError: If too many images are unreadable.
            StoreError: If the disk is full.
        """
        until = time.monotonic() + slice_s
        if self.finished or not self._prepared(until):
            return self.progress
        with reported_shortage(self._step), same_arithmetic(self._device):
            while not self.finished:
                self._train_epoch()
                if time.monotonic() >= until:
                    break
        self._checkpoint().write(self._folder, self._step.recipe.epochs)
        return self.progress

    def measure(self, part: str) -> Measurement:
        """Measure the present network on a part of the data.

        Args:
            part: ``"validation"`` or ``"test"``; ``"train"`` shows how well it fits.

        Raises:
            TrainingError: If the part shows fewer than two classes, or the network gives no finite figures.
            DataError: If too many images are unreadable.
        """
        examples = self._examples(part)
        with reported_shortage(self._step), same_arithmetic(self._device):
            logits = logits_of(self._network, examples)
        scores = scored(logits, examples.labels, owner_numbers(examples.source), self._step.seed)
        return Measurement(
            scores, len(examples), examples.n_classes, len(self._examples(TRAIN)), self._notes(examples)
        )

    def backbone(self) -> tuple[Normalization, dict[str, Array]]:
        """Return what the normalisation layers are, and the state without the head: name → array.

        Raises:
            TrainingError: If a number in it is not finite.
        """
        return self._classifier.normalization, _finite(self._classifier.backbone)

    def head(self) -> dict[str, Array]:
        """Return ``weight`` float32 [n_classes, n_features] and ``bias`` float32 [n_classes] of the head.

        Raises:
            TrainingError: If a number in it is not finite.
        """
        return _finite(self._classifier.head)

    @property
    def _head_only(self) -> bool:
        return self._step.recipe.trainable == "head"

    @cached_property
    def _images(self) -> ImageCache:
        size = self._step.network.image_size
        return ImageCache(self._source, size, self._lent.images, self._lent.max_unreadable)

    @cached_property
    def _features(self) -> FeatureCache:
        return FeatureCache(self._images, self._step.network, self._classifier, self._device)

    def _prepared(self, until: float | None) -> bool:
        """Decode what will be trained on and measured; returns whether that is complete."""
        return all(self._decoded(part, until) for part in (TRAIN, *_measured_parts(self._step)))

    def _decoded(self, part: str, until: float | None) -> bool:
        wanted = self._split.part(part)
        if not self._images.decode(wanted, until):
            return False
        return not self._head_only or self._features.compute(self._images.usable(wanted), until)

    def _examples(self, part: str) -> Examples:
        if part not in self._known:
            self._decoded(part, None)
            examples = self._made_examples(self._images.usable(self._split.part(part)))
            if self._step.recipe.private is None:
                require_classes(examples.labels, part)
            self._known[part] = examples
        return self._known[part]

    def _made_examples(self, rows: Indices) -> Examples:
        source, classifier = self._source.subset(rows), self._classifier
        if self._head_only:
            return FeatureExamples(source, self._features.rows.mapped, rows, self._device)
        return ImageExamples(
            source,
            self._images.rows.mapped,
            rows,
            _augment(self._step),
            classifier.mean,
            classifier.std,
            self._device,
        )

    def _train_epoch(self) -> None:
        self._network.train()
        self._loss = self._trainer(self._next_epoch())
        self._epoch += 1

    def _next_epoch(self) -> Epoch:
        step, epochs = self._step, self._step.recipe.epochs
        before, rounds = (step.round, step.rounds) if isinstance(step, CotrainStep) else (0, 1)
        return Epoch(
            before * epochs + self._epoch,
            rounds * epochs,
            step.seed,
            step.recipe,
            self._network,
            self._optimizer,
            self._examples(TRAIN),
            self._device,
        )

    @property
    def _trainer(self) -> TrainEpoch:
        if self._step.recipe.private is None:
            return train_epoch
        # Loads Opacus, which most steps do without.
        from site_agent.training.private import train_private_epoch

        return train_private_epoch

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint.of(self._step.step_id, self._epoch, self._loss, self._network, self._optimizer)

    def _restore(self, kept: Checkpoint) -> None:
        kept.restore(self._network, self._optimizer)
        self._epoch, self._loss = kept.epoch, kept.loss

    def _notes(self, examples: Examples) -> tuple[str, ...]:
        missing = examples.n_classes - len(np.unique(examples.labels))
        notes = list(self._split.notes)
        if missing:
            notes.append(f"{missing} of {examples.n_classes} classes have no measured image and do not count")
        if self._head_only:
            notes.append(head_only.NOTE)
        return tuple(notes)


def _augment(step: Step) -> Augment:
    return plain_augmentation if step.augmentation is None else augmenter(step.augmentation)


def _split(source: ImageSource, step: Step) -> Split:
    """Return the parts that a step works with, its training images as few as it says."""
    private = step.recipe.private is not None
    split = split_source(source, alone=private)
    if private:
        # Which images are used, and whether there are enough, would depend on other patients.
        if step.n_train is not None:
            raise TrainingError(
                "a step that trains with noise names a number of training images",
                remedy="leave n_train out",
            )
        return split
    if step.n_train is not None:
        split = split.with_train(training_subset(source, split.train, step.n_train, step.seed))
    require_classes(source.labels[split.train], TRAIN)
    for part in _measured_parts(step):
        require_classes(source.labels[split.part(part)], part)
    return split


def _measured_parts(step: Step) -> tuple[str, ...]:
    """Return what a step measures; figures of training with noise would have none."""
    if isinstance(step, SearchStep) or step.recipe.private is not None:
        return ()
    return (step.measure,)


def _finite(module: nn.Module) -> dict[str, Array]:
    weights = saved_weights(module)
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise TrainingError(f"training diverged: {name} is not finite", remedy="lower the learning rate")
    return weights


def _device(device: Device) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("this machine has no usable CUDA device", remedy="use device 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
