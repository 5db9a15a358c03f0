"""Streaming histogram updates against a per-feature ``torch.histc`` loop; every sketch against the network.

``python -m benchmarks.sketching [--json]``
"""

import argparse
import json
import statistics

import numpy as np
import torch

from benchmarks.timing import seconds_of
from federation.sketches import HistogramSketch, MeanEmbeddingSketch, MomentSketch, Sketch
from federation.sketches.mean_embedding import DEFAULT_KERNEL, DEFAULT_N_RANDOM
from federation.sketches.random_features import RandomFeatures
from federation.space import edges_from_reference
from site_agent.extractors import load_extractor, packaged_efficientnet_lite0

N_FEATURES, N_BINS, REPEATS = 1280, 100, 30
BATCHES = (8, 64)
_OTHERS = (
    MeanEmbeddingSketch.zero(RandomFeatures(N_FEATURES, DEFAULT_KERNEL, 1000.0, DEFAULT_N_RANDOM)),
    MomentSketch.zero(N_FEATURES),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    forward_s = _forward_per_image()
    results = [_measure(batch, forward_s) for batch in BATCHES]
    others = [_share(sketch, forward_s) for sketch in _OTHERS]
    if arguments.json:
        print(json.dumps({"results": results, "others": others}, indent=1))
        return
    print(f"{N_FEATURES} features × {N_BINS} bins, streaming")
    for row in results:
        print(
            f"batch of {row['batch']}: {row['loop_ratio']:.0f} × a torch.histc loop; "
            f"{row['share_of_forward']:.2%} of the network's time"
        )
    for row in others:
        print(f"{row['sketch']}, batch of {BATCHES[-1]}: {row['share_of_forward']:.2%} of the network's time")


def _share(sketch: Sketch, forward_s: float) -> dict[str, object]:
    features = np.random.default_rng(0).gamma(0.5, 1, (BATCHES[-1], N_FEATURES)).astype(np.float32)
    sketch = sketch.update(features)
    update_s = statistics.median(seconds_of(lambda: sketch.update(features)) for _ in range(REPEATS))
    return {"sketch": sketch.kind, "share_of_forward": update_s / (BATCHES[-1] * forward_s)}


def _measure(batch: int, forward_s: float) -> dict[str, float]:
    noise = np.random.default_rng(0).normal(0.4, 0.6, (batch, N_FEATURES))
    features = np.maximum(noise, 0).astype(np.float32)
    edges = edges_from_reference(np.repeat(features, 3, axis=0), N_BINS, "equal-width")
    sketch = HistogramSketch.zero(edges).update(features)
    counts = torch.zeros(N_FEATURES, N_BINS)
    tensor = torch.from_numpy(features)
    update_s = statistics.median(seconds_of(lambda: sketch.update(features)) for _ in range(REPEATS))
    loop_s = statistics.median(seconds_of(lambda: _histc_loop(tensor, edges, counts)) for _ in range(REPEATS))
    return {
        "batch": batch,
        "loop_ratio": loop_s / update_s,
        "share_of_forward": update_s / (batch * forward_s),
    }


def _histc_loop(features: torch.Tensor, edges: np.ndarray, counts: torch.Tensor) -> None:
    for f in range(features.shape[1]):
        low, high = float(edges[f, 0]), float(edges[f, -1])
        counts[f] += torch.histc(features[:, f].clamp(low, high), N_BINS, low, high)


def _forward_per_image() -> float:
    extractor = load_extractor(packaged_efficientnet_lite0())
    images = torch.randint(256, (8 * extractor.batch_size, 3, 224, 224), dtype=torch.uint8)
    extractor(images)
    return min(seconds_of(lambda: extractor(images)) for _ in range(3)) / len(images)


if __name__ == "__main__":
    main()
