"""Images per second of the whole site pipeline against the bare forward pass, and its memory against n.

``python -m benchmarks.pipeline [--json] [--acceleration MODE] [--images N] [--rounds R] [--workers W]``

The pipeline lists JPEG files, decodes, transforms, batches and extracts; the bare pass extracts features of
as many images that are already tensors in memory. Both take turns in one run, so that a busy machine slows
them alike; the ratio is the median over the rounds. The files are crops of 300 to 500 pixels a side from
photographs that install with scikit-image (histology, fundus, faces, objects), at JPEG quality 90. Peak
memory is that of a fresh process for n images and for 4n.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import skimage.data
import torch
from PIL import Image

from federation.sampling import SamplingPlan
from site_agent.data import open_source
from site_agent.dataset_config import FolderConfig
from site_agent.extractors import Extractor, load_extractor, packaged_efficientnet_lite0
from site_agent.loading import WORKERS, ImageStream
from site_agent.network.mode import Acceleration

PHOTOGRAPHS = (
    "astronaut",
    "chelsea",
    "coffee",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
)
SHORTEST, LONGEST = 300, 500
QUALITY = 90


@dataclass(frozen=True)
class Result:
    """What was measured."""

    images: int
    kilobytes_per_image: float
    arithmetic: str
    bare_per_s: float
    pipeline_per_s: float
    loading_per_s: float
    ratio: float
    peak_mib: float
    peak_mib_of_4n: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--acceleration", choices=get_args(Acceleration), default="auto")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(peak_mib(args.peak_of, args.acceleration, args.workers))
        return
    result = measure(args.acceleration, args.images, args.rounds, args.workers)
    print(json.dumps(asdict(result)) if args.json else "\n".join(lines(result)))


def measure(acceleration: Acceleration, n: int, rounds: int, workers: int) -> Result:
    """Make the files, take turns, and run two fresh processes for their memory."""
    extractor = load_extractor(packaged_efficientnet_lite0(), acceleration=acceleration, device="cpu")
    batch = extractor.batch_size
    images = torch.randint(256, (batch, 3, 224, 224), dtype=torch.uint8).to(memory_format=torch.channels_last)
    n = max(1, round(n / batch)) * batch
    with tempfile.TemporaryDirectory() as name:
        folder, larger = Path(name, "n"), Path(name, "4n")
        kilobytes = make_jpegs(folder, n)
        make_jpegs(larger, 4 * n)
        ways: list[Callable[[], object]] = [
            lambda: [extractor(images) for _ in range(n // batch)],
            lambda: run(folder, extractor, workers),
            lambda: [None for _ in stream(folder, extractor, workers)],
        ]
        seconds = [[timed(way) for way in ways] for _ in range(rounds + 1)][1:]
        peaks = [peak_in_fresh_process(path, acceleration, workers) for path in (folder, larger)]
    bare, pipeline, loading = (statistics.median(column) for column in zip(*seconds, strict=True))
    ratio = statistics.median(bare / pipeline for bare, pipeline, _ in seconds)
    speeds = [round(n / elapsed, 1) for elapsed in (bare, pipeline, loading)]
    return Result(n, kilobytes, extractor.arithmetic, *speeds, round(ratio, 3), *peaks)


def stream(folder: Path, extractor: Extractor, workers: int) -> ImageStream:
    source = open_source(FolderConfig(format="folder", task="photographs", root=folder))
    plan, transform = SamplingPlan(None), extractor.identity.transform
    return ImageStream(source, transform, plan, batch_size=extractor.batch_size, workers=workers)


def run(folder: Path, extractor: Extractor, workers: int) -> int:
    return sum(len(extractor(batch.images)) for batch in stream(folder, extractor, workers))


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def peak_mib(folder: Path, acceleration: Acceleration, workers: int) -> float:
    """Run the pipeline over a folder; returns the largest resident size this process ever had (Linux)."""
    run(
        folder,
        load_extractor(packaged_efficientnet_lite0(), acceleration=acceleration, device="cpu"),
        workers,
    )
    # Not getrusage: its figure is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in status if line.startswith("VmHWM"))


def peak_in_fresh_process(folder: Path, acceleration: Acceleration, workers: int) -> float:
    options = ["--peak-of", str(folder), "--acceleration", acceleration, "--workers", str(workers)]
    command = [sys.executable, "-m", "benchmarks.pipeline", *options]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def make_jpegs(folder: Path, n: int) -> float:
    """Write n JPEG files, one sub-folder per photograph; returns their mean size in kilobytes."""
    sizes = []
    for i, (name, crop) in enumerate(crops(n)):
        path = folder / name / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        crop.save(path, quality=QUALITY)
        sizes.append(path.stat().st_size)
    return round(statistics.mean(sizes) / 1000, 1)


def crops(n: int) -> Iterator[tuple[str, Image.Image]]:
    random = np.random.default_rng(0)
    photographs = [(name, Image.fromarray(getattr(skimage.data, name)())) for name in PHOTOGRAPHS]
    for i in range(n):
        name, photograph = photographs[i % len(photographs)]
        width, height = (random.integers(SHORTEST, min(side, LONGEST) + 1) for side in photograph.size)
        left, top = (
            random.integers(photograph.width - width + 1),
            random.integers(photograph.height - height + 1),
        )
        yield name, photograph.crop((left, top, left + width, top + height))


def lines(result: Result) -> list[str]:
    return [
        f"{result.images} JPEG files of {result.kilobytes_per_image} kB, {result.arithmetic}",
        f"bare forward pass {result.bare_per_s:8.1f} images/s",
        f"whole pipeline    {result.pipeline_per_s:8.1f} images/s, ratio {result.ratio:.3f}",
        f"loading alone     {result.loading_per_s:8.1f} images/s",
        f"peak memory       {result.peak_mib:8.1f} MiB for n, {result.peak_mib_of_4n:.1f} MiB for 4n",
    ]


if __name__ == "__main__":
    main()
