"""Variational estimate of the diagonal Fisher information: how much noise each filter bears.

Gaussian noise of variance σ² per filter is learned with the loss E[CE] + β KL(N(w, σ²) ‖ N(0, λ²)), CE the
cross-entropy and λ² one number per layer (Achille et al. 2019). At the optimum 1/σ² = F/β + 1/λ², so that
the precision 1/σ² is the embedding. Unlike the authors' code the network, its normalisation and the head
stay as they are.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from federation.sketches.fisher_parameters import FisherParameters
from site_agent.extractors import Extractor
from site_agent.fisher.head import LinearHead
from site_agent.fisher.layers import weights_by_name
from site_agent.fisher.weight_noise import WeightNoise
from site_agent.loading import Batch

BETA = 1e-7
LEARNING_RATE = 1e-2
BATCH = 64
DRAWS = 20_000
"""Images that are shown in all: two epochs of 10,000 draws, as published."""

_INITIAL = 0.05  # of the variance of a filter's weights

Part = tuple[Tensor, Tensor]  # images uint8 [n, 3, S, S] and positions of their classes int64 [n]


class Variational:
    """Learns the precisions of a task.

    Args:
        extractor: The network.
        head: The task's classifier.
        parameters: What the space fixes.
    """

    def __init__(self, extractor: Extractor, head: LinearHead, parameters: FisherParameters) -> None:
        self._extractor, self._head = extractor, head
        self._random = np.random.PCG64(parameters.seed)
        self._layers = parameters.layout.layers
        self._network = extractor.differentiable
        self._weights = weights_by_name(self._network, [layer.name for layer in self._layers])
        self._energy = torch.cat([_mean(w, torch.square) for w in self._weights.values()])
        self._sizes = torch.cat([torch.full((len(w),), float(w[0].numel())) for w in self._weights.values()])
        spread = torch.cat([_spread(w) for w in self._weights.values()])
        self._log_variances = torch.log(_INITIAL * spread).requires_grad_()
        self._log_priors = torch.log(self._by_layer(self._energy)).requires_grad_()
        self._optimizer = torch.optim.Adam([self._log_variances, self._log_priors], lr=LEARNING_RATE)
        self._outputs = tuple(
            torch.from_numpy(part.astype(np.float32)) for part in (head.weights, head.biases)
        )

    def learn(self, batches: Iterator[Batch]) -> int:
        """Take optimisation steps over one pass and return the number of images in it."""
        n_images, step, waiting = 0, self._extractor.step, list[Part]()
        for batch in batches:
            rows = torch.from_numpy(self._head.rows(batch.labels.numpy()))
            waiting += zip(torch.split(batch.images, step), torch.split(rows, step), strict=True)
            n_images += len(rows)
            while len(waiting) * step >= BATCH:
                self._step(waiting[: BATCH // step])
                waiting = waiting[BATCH // step :]
        if waiting:
            self._step(waiting)
        return n_images

    def precisions(self) -> npt.NDArray[np.float64]:
        """Return e^{−log σ²}, float64 [n_filters]."""
        return np.exp(-self._log_variances.detach().numpy().astype(np.float64))

    def _step(self, parts: list[Part]) -> None:
        # Drawn here, in order, so that lanes may finish in any.
        seeds = (self._random.random_raw(len(parts)) >> np.uint64(1)).tolist()
        slopes = self._extractor.lanes.map(self._slope, list(zip(parts, seeds, strict=True)))
        n = sum(len(part[0]) for part in parts)
        self._optimizer.zero_grad()
        torch.autograd.backward(BETA * self._divergence())
        assert self._log_variances.grad is not None  # noqa: S101
        self._log_variances.grad += torch.stack(slopes).sum(dim=0) / n
        self._optimizer.step()

    def _slope(self, work: tuple[Part, int]) -> Tensor:
        """Return the gradient of a part's summed cross-entropy, float32 [n_filters]."""
        (images, rows), seed = work
        device = next(iter(self._weights.values())).device
        random = torch.Generator(device).manual_seed(seed)
        with torch.enable_grad():
            logs = self._log_variances.detach().to(device).requires_grad_()
            split = dict(
                zip(
                    self._weights, torch.split(logs, [layer.n_filters for layer in self._layers]), strict=True
                )
            )
            with WeightNoise(self._weights, split, random):
                features = self._network(self._extractor.prepared(images))[: len(images)].cpu()
            weights, biases = self._outputs
            losses = torch.nn.functional.cross_entropy(features @ weights.T + biases, rows, reduction="none")
            balance = torch.from_numpy(self._head.balance.astype(np.float32))[rows]
            (slope,) = torch.autograd.grad((losses * balance).sum(), logs)
        return slope.cpu()

    def _divergence(self) -> Tensor:
        """Return KL(N(w, σ²) ‖ N(0, λ²)) summed over all weights."""
        repeats = torch.tensor([layer.n_filters for layer in self._layers])
        priors = self._log_priors.repeat_interleave(repeats)
        ratio = (self._energy + torch.exp(self._log_variances)) * torch.exp(-priors)
        return 0.5 * (self._sizes * (ratio - 1 + priors - self._log_variances)).sum()

    def _by_layer(self, per_filter: Tensor) -> Tensor:
        return torch.stack(
            [part.mean() for part in torch.split(per_filter, [layer.n_filters for layer in self._layers])]
        )


def _mean(weight: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    return of(weight.detach().flatten(1) if weight.ndim > 1 else weight.detach()[:, None]).mean(dim=1).cpu()


def _spread(weight: Tensor) -> Tensor:
    """Return the variance of every filter's weights; of a whole layer's where a filter has but one."""
    rows = weight.detach().cpu().flatten(1) if weight.ndim > 1 else weight.detach().cpu()[:, None]
    own = rows.var(dim=1, unbiased=False)
    fallback = rows.square().mean().clamp_min(1e-8)
    return torch.where(own > 1e-8 * fallback, own, fallback)
