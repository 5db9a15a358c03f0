"""How a network is trained: the same words at the aggregator that plans it and at the site that does it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from federation.space import Library

Precision = Literal["float32", "mixed"]
Trainable = Literal["all", "head"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Strict(BaseModel):
    """What every part of a step has in common: nothing unknown, nothing coerced, nothing changed later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Network(Strict):
    """An architecture by its name in a well-kept library; sites accept only names that their policy allows.

    Args:
        library: Where it comes from.
        name: Its name there.
        image_size: Side of the square input in pixels.
    """

    library: Library = "timm"
    name: str = Field("tf_efficientnet_lite0", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    image_size: int = Field(64, ge=28, le=512)

    def __str__(self) -> str:
        return f"{self.name} at {self.image_size} px"


class PrivateTraining(Strict):
    """DP-SGD: gradients of one patient clipped, their sum noised (Abadi et al. 2016).

    Args:
        noise_multiplier: Standard deviation of the noise over the clip norm, of the sum over a batch.
        clip_norm: Largest L2 norm of one patient's gradient.
        images_per_patient: Most images of one patient that are used.
    """

    noise_multiplier: float = Field(gt=0, le=1e6)
    clip_norm: float = Field(1.0, gt=0, le=1e6)
    images_per_patient: int = Field(1, ge=1, le=64)


class Recipe(Strict):
    """A fixed budget of training: as many epochs of as many draws, whatever is trained from whatever start.

    Args:
        epochs: Number of epochs.
        draws: Images per epoch, drawn class-balanced with replacement; None: every image once, unbalanced.
        batch_size: Images per step of the optimizer.
        learning_rate: Peak rate of Adam.
        weight_decay: Decoupled decay (AdamW).
        schedule: How the rate falls: cosine to zero, or a tenth after every 25 epochs (the papers' StepLR).
        trainable: Everything, or only a new linear head over frozen features.
        precision: Arithmetic; ``mixed`` is bfloat16 where the device has it.
        private: DP-SGD, where the model shall leave with a guarantee.
    """

    epochs: int = Field(10, ge=1, le=1000)
    draws: int | None = Field(None, ge=2, le=1_000_000)
    batch_size: int = Field(32, ge=2, le=4096)
    learning_rate: float = Field(1e-3, gt=0, le=10)
    weight_decay: float = Field(1e-4, ge=0, le=1)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    trainable: Trainable = "all"
    precision: Precision = "float32"
    private: PrivateTraining | None = None
