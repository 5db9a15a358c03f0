"""What a step measured: figures with intervals, and nothing about any single image."""

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from federation.transfer.augmentation import AugmentationPolicy
from federation.transfer.recipe import Strict

AUROC, BALANCED_ACCURACY, CROSS_ENTROPY = METRICS = ("auroc", "ba", "ce")
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Score(Strict):
    """A metric and its 95 % bootstrap interval over the measured patients.

    Args:
        value: The metric.
        low: Lower end.
        high: Upper end.
    """

    value: Finite
    low: Finite
    high: Finite

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"the interval [{self.low:g}, {self.high:g}] is empty")
        return self


class ModelPrivacy(Strict):
    """What a model promises every patient it was trained on.

    Args:
        rho: zCDP of the training, as an exact fraction ``"a/b"``.
        eps: ε at ``delta``, from ρ.
        delta: δ.
        unit: ``"patient"`` or ``"image"``, what one neighbour is.
        ledger_seq: Position of the charge in the site's ledger; None: it was not charged.
        ledger_hash: SHA-256 of that entry, which anchors the ledger outside the site.
    """

    rho: str = Field(pattern=r"^[0-9]+(/[0-9]+)?$")
    eps: float = Field(gt=0, allow_inf_nan=False)
    delta: float = Field(gt=0, lt=1)
    unit: str = Field(pattern="^(patient|image)$")
    ledger_seq: int | None = Field(None, ge=1)
    ledger_hash: str = Field("", pattern="^([0-9a-f]{64})?$")


class StepResult(Strict):
    """What became of a step that was done.

    Args:
        scores: Metric (``METRICS``) → score on the part that was measured.
        n_train: Training images used, rounded by the site as its policy says.
        n_measured: Images measured.
        n_classes: Number of classes.
        epochs: Epochs that were trained.
        seconds: Time it took, for the cost of later experiments.
        model_id: SHA-256 of the model that leaves, if one does.
        augmentation: The policy that was found, if one was searched.
        privacy: What the model promises, where it was trained with noise.
        notes: What a reader of the figures should know, in words without names of files or patients.
        left_out: Of an average under masks: site that trained the round and is not in it → code of why.
    """

    scores: dict[str, Score] = Field(default_factory=dict)
    n_train: int = Field(ge=0)
    n_measured: int = Field(0, ge=0)
    n_classes: int = Field(ge=1)
    epochs: int = Field(0, ge=0)
    seconds: float = Field(0.0, ge=0, allow_inf_nan=False)
    model_id: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    augmentation: AugmentationPolicy | None = None
    privacy: ModelPrivacy | None = None
    notes: tuple[str, ...] = Field((), strict=False, max_length=20)
    left_out: dict[str, str] = Field(default_factory=dict, max_length=1000)


class Progress(Strict):
    """How far a running step is.

    Args:
        epoch: Epochs done.
        epochs: Epochs to do.
        loss: Training loss of the last one.
    """

    epoch: int = Field(ge=0)
    epochs: int = Field(ge=1)
    loss: float | None = None

    @property
    def share(self) -> float:
        """Part that is done, from 0 to 1."""
        return min(1.0, self.epoch / self.epochs)


def relative_gain(value: float, baseline: float) -> float:
    """Return (value − baseline) / baseline, the gain of van den Brandt et al. as a share.

    It is also the relative loss of Godau and Maier-Hein less one where cross-entropies are given.
    """
    return (value - baseline) / baseline if baseline else math.nan
