"""Monte-Carlo estimate of the diagonal Fisher information, image by image, with labels from the model.

F = E_x E_{y~p(y|x)} [(∂ log p(y|x)/∂w)²] is a mean of squares of each image's own gradient. The square of a
batch's mean gradient, which published code computes, shrinks with the size of the batch and is not used.
Labels are drawn by importance, which leaves the mean as it is and takes most of the chance out of it.
"""

from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from federation.sketches.fisher_parameters import FisherParameters
from site_agent.extractors import Extractor
from site_agent.fisher.gradients import SquaredGradients
from site_agent.fisher.head import LinearHead
from site_agent.fisher.layers import weights_by_name

Floats = npt.NDArray[np.float64]


class MonteCarlo:
    """Turns images into squared gradients.

    As with features, an image's numbers depend neither on the images around it nor on the number of cores:
    the network always sees batches of one shape, the last filled up with black, each on one core. Nor do they
    depend on the image's place in the task: its label is drawn by a number that the image itself decides, so
    that one more patient changes nothing about the others.

    Args:
        extractor: The network; it is executed as its library does, because that is what has gradients.
        head: The task's classifier.
        parameters: What the space fixes.
    """

    def __init__(self, extractor: Extractor, head: LinearHead, parameters: FisherParameters) -> None:
        self._extractor = extractor
        self._head = head
        self._parameters = parameters
        self._names = [layer.name for layer in parameters.layout.layers]
        self._network = extractor.differentiable
        self._weights = weights_by_name(self._network, self._names)

    def __call__(self, images: Tensor) -> npt.NDArray[np.float32]:
        """Return squared gradients of images.

        Args:
            images: uint8 [N, 3, S, S].

        Returns:
            float32 [N, n_weights].
        """
        step, chance = self._extractor.step, uniform(self._parameters.seed, images)
        starts = range(0, len(images), step)
        parts = [(images[start : start + step], chance[start : start + step]) for start in starts]
        return torch.cat(self._extractor.lanes.map(self._part, parts)).numpy()

    def _part(self, part: tuple[Tensor, Floats]) -> Tensor:
        images, chance = part
        with torch.enable_grad():
            with SquaredGradients(self._weights, self._parameters.granularity) as squares:
                features = self._network(self._extractor.prepared(images))
            slope = log_probability_slopes(self._head, features.detach().cpu().numpy()[: len(images)], chance)
            upstream = torch.zeros_like(features)
            upstream[: len(images)] = torch.from_numpy(slope)
            torch.autograd.backward(features, upstream)
        found: Tensor = squares.of_layers(self._names)[: len(images)].cpu()
        return found


def log_probability_slopes(
    head: LinearHead, features: npt.NDArray[np.float32], chance: Floats
) -> npt.NDArray[np.float32]:
    """Return √(p/q) ∂ log p(y|x) / ∂x of every image's features x, for a label y drawn from q.

    A label drawn from q counts p(y|x)/q(y|x) times, so that the mean of squares is that of labels drawn from
    p(·|x). The choice q ∝ p(y|x) ‖∂ log p(y|x)/∂x‖² gives every draw the same length: with two classes none
    of it is left to chance, and with more an unlikely label no longer outweighs a thousand images.

    Args:
        head: p(y|x).
        features: float32 [N, n_features].
        chance: float64 [N], uniform in [0, 1).

    Returns:
        float32 [N, n_features].
    """
    p = np.exp(head.log_probabilities(features))
    proposal = p * _squared_lengths(head, p)
    cumulative = np.cumsum(proposal, axis=1)
    total = cumulative[:, -1:]
    drawn = np.minimum((chance[:, None] * total >= cumulative).sum(axis=1), p.shape[1] - 1)
    image = np.arange(len(p))
    # A head without doubt has no gradient; its proposal is empty.
    chosen, wanted = proposal[image, drawn], p[image, drawn] * total[:, 0]
    ratio = np.divide(wanted, chosen, out=np.zeros_like(chosen), where=chosen > 0)
    residual = np.eye(p.shape[1])[drawn] - p
    slopes = np.einsum("nc,cf->nf", residual, head.weights) * np.sqrt(ratio)[:, None]
    return np.asarray(slopes, np.float32)


def _squared_lengths(head: LinearHead, p: Floats) -> Floats:
    """Return ‖∂ log p(y|x)/∂x‖² = ‖w_y − Σ_c p_c w_c‖² of every image and class, float64 [N, n_classes]."""
    along = np.einsum("nc,cd->nd", p, head.products)
    lengths = np.diag(head.products) - 2 * along + (along * p).sum(axis=1, keepdims=True)
    return np.asarray(np.maximum(lengths, 0.0))


def uniform(seed: int, images: Tensor) -> Floats:
    """Return one number in [0, 1) per image, float64 [N], as unpredictable as SHA-256 of seed and pixels.

    The same image has the same number wherever it occurs; different images have independent ones.

    Args:
        seed: Seed of the space.
        images: uint8 [N, ...].
    """
    key = seed.to_bytes(8, "little")
    pixels = (image.contiguous().numpy().tobytes() for image in images.cpu())
    words = [sha256(key + each).digest()[:8] for each in pixels]
    return np.asarray((np.frombuffer(b"".join(words), "<u8") >> np.uint64(11)) * 2.0**-53)
