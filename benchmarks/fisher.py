"""What Fisher information of an image costs, against one plain forward and backward pass and a loop of one.

``python -m benchmarks.fisher [--json] [--networks NAME ...] [--image-size S] [--images N] [--rounds R]``

All ways take turns in one run, so that a busy machine slows them alike; ratios are medians over rounds of
the ratio within a round. The baseline is eager PyTorch in channels-last order with gradients of all
weights, at the best of several batch sizes on all cores at once or with one core per batch. The loop of one
is what per-image gradients are without any of this: forward, backward and squares for each image by itself.
Weights are random; the head has ten classes.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.timing import seconds_of
from federation.sketches import FisherSketch
from federation.sketches.fisher_parameters import Granularity
from site_agent.extractors import Extractor, ExtractorSpec, load_backbone, load_extractor
from site_agent.fisher.head import LinearHead
from site_agent.fisher.montecarlo import MonteCarlo
from site_agent.fisher.recipe import FisherRecipe
from site_agent.reference_corpus import reference_images

NETWORKS = ("tf_efficientnet_lite0", "resnet34")
GRANULARITIES: tuple[Granularity, ...] = ("filter", "kernel")
BATCHES = (8, 32)  # of the baseline, beside the batches that fedprint's own lanes take
LOOPED = 4  # images of the loop of one
CLASSES = 10


@dataclass(frozen=True)
class Result:
    """What was measured of one network and granularity, all per image."""

    network: str
    granularity: str
    numbers: int
    baseline_ms: float
    fisher_ms: float
    loop_ms: float
    times_forward_backward: float
    faster_than_loop: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="timm names")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    results = [
        result
        for name in args.networks
        for result in measure(name, args.image_size, args.images, args.rounds)
    ]
    if args.json:
        setting = {"image_size": args.image_size, "threads": torch.get_num_threads()}
        print(json.dumps({**setting, "results": [asdict(result) for result in results]}))
        return
    print("                                  numbers  x forward+backward  x faster than a loop of one")
    for r in results:
        print(
            f"{r.network:24}{r.granularity:8}{r.numbers:9,}{r.times_forward_backward:20.2f}"
            f"{r.faster_than_loop:29.1f}"
        )


def measure(name: str, image_size: int, n_images: int, rounds: int) -> list[Result]:
    """Measure one network at both granularities."""
    spec = ExtractorSpec("timm", name, "random:0", image_size=image_size)
    extractor = load_extractor(spec, acceleration="fold", device="cpu")
    images = torch.from_numpy(np.stack(list(reference_images(n_images, image_size)))).permute(0, 3, 1, 2)
    labels = np.arange(n_images) % CLASSES
    head = LinearHead.fit(extractor(images), labels, 0.1)
    settings = [(batch, torch.channels_last) for batch in (extractor.step, *BATCHES)]
    baselines = [plain(extractor, images, *setting) for setting in settings]
    fastest = min(baselines, key=lambda work: min((work(), seconds_of(work), seconds_of(work))[1:]))
    return [compare(extractor, head, images, fastest, g, rounds) for g in GRANULARITIES]


def compare(
    extractor: Extractor,
    head: LinearHead,
    images: torch.Tensor,
    baseline: Callable[[], object],
    granularity: Granularity,
    rounds: int,
) -> Result:
    """Let the baseline, fedprint and the loop of one take turns."""
    parameters = FisherRecipe(granularity).parameters(extractor)
    squares, empty = MonteCarlo(extractor, head, parameters), FisherSketch.zero(parameters)

    def ours() -> FisherSketch:
        sketch = empty
        for part in torch.split(images, extractor.portion):
            sketch = sketch.update(squares(part, sketch.n))
        return sketch

    single = loop_of_one(extractor, head, images[:LOOPED], [layer.name for layer in parameters.layout.layers])
    for work in (ours, single):
        work()
    seconds = np.array([[seconds_of(work) for work in (baseline, ours, single)] for _ in range(rounds)])
    per_image = seconds / np.array([len(images), len(images), LOOPED])
    base, fisher, loop = (statistics.median(column) * 1e3 for column in per_image.T)
    return Result(
        extractor.identity.name,
        granularity,
        parameters.layout.n_weights,
        round(base, 2),
        round(fisher, 2),
        round(loop, 2),
        round(statistics.median(per_image[:, 1] / per_image[:, 0]), 2),
        round(statistics.median(per_image[:, 2] / per_image[:, 1]), 2),
    )


def plain(
    extractor: Extractor, images: torch.Tensor, batch: int, order: torch.memory_format
) -> Callable[[], object]:
    """Return forward and backward passes that give the gradients of all weights, summed over a batch."""
    network = trainable(extractor, order)
    weights = list(network.parameters())
    inputs = torch.cat([extractor.prepared(part) for part in torch.split(images, extractor.step)])
    parts = torch.split(inputs[: len(images)].contiguous(memory_format=order), batch)

    def gradients(part: torch.Tensor) -> object:
        return torch.autograd.grad(network(part).square().sum(), weights)

    if batch == extractor.step:
        return lambda: extractor.lanes.map(gradients, parts)
    return lambda: [gradients(part) for part in parts]


def loop_of_one(
    extractor: Extractor, head: LinearHead, images: torch.Tensor, names: Sequence[str]
) -> Callable[[], None]:
    """Return per-image squared gradients as a loop over single images."""
    network = trainable(extractor, torch.contiguous_format)
    modules = dict(network.named_modules())
    weights = [modules[name].weight for name in names]
    inputs = torch.cat([extractor.prepared(image[None])[:1].contiguous() for image in images])
    classifier = torch.from_numpy(head.weights.astype(np.float32))

    def run() -> None:
        sums = [torch.zeros_like(weight) for weight in weights]
        for image in inputs.split(1):
            log_p = torch.log_softmax(network(image) @ classifier.T, dim=1)
            label = torch.multinomial(log_p.detach().exp()[0], 1)
            for total, gradient in zip(sums, torch.autograd.grad(log_p[0, label], weights), strict=True):
                total += gradient.square()

    return run


def trainable(extractor: Extractor, order: torch.memory_format) -> nn.Module:
    """Return the library's network with weights that have gradients."""
    identity = extractor.identity
    spec = ExtractorSpec("timm", identity.name, "random:0", image_size=identity.transform.image_size)
    return load_backbone(spec).network.requires_grad_(True).to(memory_format=order)


if __name__ == "__main__":
    main()
