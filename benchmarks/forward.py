"""Images per second of every way to execute an extractor, against the library's own forward pass.

``python -m benchmarks.forward [--json] [--compile] [--network NAME] [--image-size S] [--rounds R]``

All ways take turns in one run, so that a busy machine slows them alike; speeds are medians over the rounds.
The baseline is eager float32 PyTorch on all cores, on images already normalised, at the faster of two batch
sizes; the extractor's ways include normalisation. Errors are relative to the baseline's features, on images
of the public reference corpus. Start-up is the time from the name of a network to its first features.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from site_agent.extractors import ExtractorSpec, load_backbone, load_extractor, packaged_efficientnet_lite0
from site_agent.network.acceleration import relative_error
from site_agent.network.mode import Acceleration
from site_agent.reference_corpus import reference_images

EAGER_BATCHES = (8, 32)
COMPILED_BATCH = 8
MODES: tuple[Acceleration, ...] = ("off", "fold", "bf16")

Run = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Way:
    """A network ready to turn the benchmark's images into features."""

    name: str
    arithmetic: str
    startup_s: float
    run: Run


@dataclass(frozen=True)
class Result:
    """What was measured of one way."""

    name: str
    arithmetic: str
    startup_s: float
    images_per_s: float
    speedup: float
    median_error: float
    max_error: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile")
    parser.add_argument("--network", help="a timm network with random weights instead of EfficientNet-Lite0")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    spec = packaged_efficientnet_lite0(args.image_size)
    if args.network:
        spec = ExtractorSpec("timm", args.network, "random:0", image_size=args.image_size)
    results = measure(spec, args.images, args.rounds, compiled=args.compile)
    if args.json:
        setting = {"network": spec.name, "image_size": spec.image_size, "threads": torch.get_num_threads()}
        print(json.dumps({**setting, "results": [asdict(result) for result in results]}))
    else:
        print("\n".join(table(results)))


def measure(spec: ExtractorSpec, n_images: int, rounds: int, *, compiled: bool) -> list[Result]:
    """Measure every way to execute a network; the first is the baseline's smaller batch."""
    images = torch.from_numpy(np.stack(list(reference_images(n_images, spec.image_size)))).permute(0, 3, 1, 2)
    ways = [*eager_ways(spec, images), *(extractor_way(spec, images, mode) for mode in MODES)]
    if compiled:
        ways.append(compiled_way(spec, images))
    seconds = take_turns(ways, rounds)
    with torch.inference_mode():
        expected = ways[0].run()
        errors = [relative_error(way.run(), expected) for way in ways]
    baseline = min(seconds[: len(EAGER_BATCHES)])
    return [
        Result(
            way.name,
            way.arithmetic,
            round(way.startup_s, 2),
            round(n_images / elapsed, 1),
            round(baseline / elapsed, 2),
            float(error.median()),
            float(error.max()),
        )
        for way, elapsed, error in zip(ways, seconds, errors, strict=True)
    ]


def take_turns(ways: Sequence[Way], rounds: int) -> list[float]:
    """Run every way once per round; returns the median seconds of each."""
    seconds: list[list[float]] = [[] for _ in ways]
    with torch.inference_mode():
        for _ in range(rounds):
            for way, elapsed in zip(ways, seconds, strict=True):
                begin = time.perf_counter()
                way.run()
                elapsed.append(time.perf_counter() - begin)
    return [statistics.median(elapsed) for elapsed in seconds]


def eager_ways(spec: ExtractorSpec, images: torch.Tensor) -> list[Way]:
    begin = time.perf_counter()
    network, inputs = prepared(spec, images)
    ways = []
    for batch in EAGER_BATCHES:
        run = in_batches(network, inputs, batch)
        run()
        ways.append(Way(f"eager, batch {batch}", "float32 eager cpu", time.perf_counter() - begin, run))
    return ways


def extractor_way(spec: ExtractorSpec, images: torch.Tensor, mode: Acceleration) -> Way:
    begin = time.perf_counter()
    extractor = load_extractor(spec, acceleration=mode, device="cpu")
    extractor(images[:1])
    startup = time.perf_counter() - begin
    return Way(f"fedprint {mode}", extractor.arithmetic, startup, lambda: torch.from_numpy(extractor(images)))


def compiled_way(spec: ExtractorSpec, images: torch.Tensor) -> Way:
    """The best of torch.compile's settings for convolutional networks: frozen weights, channels last."""
    begin = time.perf_counter()
    network, inputs = prepared(spec, images)
    network.to(memory_format=torch.channels_last)
    compiled = torch.compile(network, options={"freezing": True}, dynamic=False)
    ordered = inputs.contiguous(memory_format=torch.channels_last)
    run = torch.no_grad()(in_batches(compiled, ordered, COMPILED_BATCH))
    run()
    return Way(
        f"torch.compile, batch {COMPILED_BATCH}", "float32 compiled cpu", time.perf_counter() - begin, run
    )


def prepared(spec: ExtractorSpec, images: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    """Return the library's network and its normalised input."""
    backbone = load_backbone(spec)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (backbone.mean, backbone.std))
    return backbone.network, ((images.contiguous() / 255 - mean) / std).contiguous()


def in_batches(network: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor, batch: int) -> Run:
    return lambda: torch.cat([network(part) for part in torch.split(inputs, batch)])


def table(results: Sequence[Result]) -> list[str]:
    numbers = f"{'images/s':>9}{'x eager':>9}{'start-up':>10}{'error: median':>16}{'max':>10}"
    head = f"{'':26}{'arithmetic':24}{numbers}"
    rows = [
        f"{r.name:26}{r.arithmetic:24}{r.images_per_s:9.1f}{r.speedup:9.2f}{r.startup_s:9.1f}s"
        f"{r.median_error:16.1e}{r.max_error:10.1e}"
        for r in results
    ]
    return [head, *rows]


if __name__ == "__main__":
    main()
