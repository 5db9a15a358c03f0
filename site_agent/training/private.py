"""One epoch of training that hides any one patient: DP-SGD whose price is exact.

Every batch of patients releases one sum of clipped gradients, counted in whole units, plus discrete Gaussian
noise, drawn exactly from the operating system's randomness: the mechanism of every other release here.
Gaussian noise in floating point, which other implementations of DP-SGD add, lies on a grid that can tell what
it was added to (Mironov 2012; Holohan & Braghin 2021 make that harder by adding several draws); whole numbers
have no such grid. Only each patient's own gradient is in floating point, before it is clipped.

Everything else is public: how many batches there are, by how much their sums are divided, rates, seeds. There
is no class balancing, nothing stops early, no loss is told.

References:
    Abadi et al. 2016, "Deep Learning with Differential Privacy" (clipping and noise; batches are drawn
    otherwise here, see docs/privacy-proofs.md#a-trained-model).
    Canonne, Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy".
"""

import os
from collections.abc import Iterable

import torch

from federation.errors import TrainingError
from federation.privacy.inversion import Randomness
from federation.privacy.noise import discrete_gaussian
from federation.privacy.training import GradientNoise, gradient_noise
from federation.transfer.recipe import PrivateTraining
from federation.transfer.step import Step
from site_agent.training.epoch import Epoch
from site_agent.training.private_gradients import PatientGradients, Units
from site_agent.training.private_network import keeping_gradients_per_image
from site_agent.training.private_patients import batches_of_patients, public_batches


def train_private_epoch(epoch: Epoch, randomness: Randomness = os.urandom) -> None:
    """Train one epoch that costs every patient ρ = 1/2σ².

    An epoch that was interrupted may be trained again from where the one before ended, as long as nobody has
    seen anything of it: what leaves has been noised once per patient and epoch.

    Args:
        epoch: What to train, on what and how; its recipe is private.
        randomness: Where noise comes from; anything but the default is for tests.

    Raises:
        TrainingError: If the recipe leaves something to the data, or the network mixes images.
    """
    private = private_recipe(epoch)
    noise, n_batches = gradient_noise(private.noise_multiplier), public_batches(epoch.recipe)
    source = epoch.examples.source
    batches = batches_of_patients(source, private.images_per_patient, n_batches, epoch.seed, epoch.number)
    with keeping_gradients_per_image(epoch.network) as network:
        gradients = PatientGradients(network, private.images_per_patient, private.clip_norm, noise.units)
        for number, patients in enumerate(batches):
            total = gradients.total(patients, epoch.examples, epoch.device)
            epoch.set_rate(number, n_batches)
            _step(epoch, noised(total, noise, randomness), private.clip_norm / noise.units)


def noised(total: Units, noise: GradientNoise, randomness: Randomness = os.urandom) -> Units:
    """Return a sum of clipped gradients with noise in every number, which any patient may be told.

    Args:
        total: The sum, in units.
        noise: Its noise.
        randomness: Where noise comes from; anything but the default is for tests.
    """
    return [
        part + torch.from_numpy(discrete_gaussian(tuple(part.shape), noise.variance, randomness))
        for part in total
    ]


def require_private_step(step: Step) -> None:
    """Raise unless a step asks for private training in a way that leaves nothing to the data.

    Raises:
        TrainingError: If it does not.
    """
    if step.recipe.private is None:
        raise TrainingError("the step asks for no noise", remedy="give its recipe a table private")
    if step.n_train is not None:
        raise TrainingError(
            "a private step names n_train: which images are among so many depends on who else is there",
            remedy="leave n_train out of steps that train with noise",
        )
    public_batches(step.recipe)


def private_recipe(epoch: Epoch) -> PrivateTraining:
    """Return how to train with noise.

    Raises:
        TrainingError: If the recipe does not say.
    """
    if epoch.recipe.private is None:
        raise TrainingError("the recipe asks for no noise", remedy="train it plainly, or give it private")
    return epoch.recipe.private


def _step(epoch: Epoch, noisy: Units, unit: float) -> None:
    """Take one step of the optimizer along a noisy sum, divided by a public number of patients."""
    parameters = _trained(epoch.network.parameters())
    for parameter, part in zip(parameters, noisy, strict=True):
        mean = part.double() * (unit / epoch.recipe.batch_size)
        parameter.grad = mean.to(parameter.device, parameter.dtype)
    epoch.optimizer.step()
    epoch.optimizer.zero_grad(set_to_none=True)


def _trained(parameters: Iterable[torch.nn.Parameter]) -> list[torch.nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]
