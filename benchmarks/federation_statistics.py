"""Histograms of every feature over all sites: fedprint in one process against NVFlare's simulator, same run.

Ten sites hold 1,000 images each, described by 512 features; wanted are 100 bins per feature over all of them.
fedprint runs its own apps with everything around them: policies, signatures, ledgers, catalogue, every
message through Flower's serialisation. Only the network is replaced, by a table that knows the features of an
image from its colour, since NVFlare begins at features. NVFlare runs its federated statistics as published,
``count`` and ``histogram`` in ranges that are known before.

``python -m benchmarks.federation_statistics [--nvflare PYTHON] [--json]``; ``PYTHON`` is an interpreter that
has ``nvflare`` (2.9).
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from aggregator.server_app import app as server_app
from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.inprocess import InProcessGrid, Node, run_in_process
from deploy.simulation import write_consortium
from federation.sketches import HistogramSketch
from federation.space import ExtractorIdentity, Space, Transform, equal_width_edges
from site_agent import jobs
from site_agent.client_app import app as client_app

SITES, IMAGES, FEATURES, BINS = 10, 1_000, 512, 100
RANGE = (-4.0, 4.0)
_SIZE = 32  # side of an image in pixels

_COHORT = """
[privacy]
minimum_patients = 50
[[cohort]]
name = "everybody"
task = "digits"
sites = [{sites}]
eps = 1.0
delta = 1e-6
images_per_patient = 1
unit = "image"
"""


class Table:
    """Stands in for a network: the colour of an image says which row of the table its features are.

    Args:
        features: float32 [n, FEATURES].
        identity: What it claims to be.
    """

    batch_size = portion = 64
    arithmetic, ignores_position = "table", True

    def __init__(self, features: npt.NDArray[np.float32], identity: ExtractorIdentity) -> None:
        self._features, self.identity, self.n_features = features, identity, FEATURES

    def __call__(self, images: Any) -> npt.NDArray[np.float32]:
        """Return float32 [n, FEATURES] of uint8 images [n, 3, S, S]."""
        high, low = images[:, :2, 0, 0].numpy().astype(int).T
        return self._features[high * 256 + low]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nvflare", type=Path, help="interpreter that has nvflare")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), arguments.nvflare)
    if arguments.json:
        print(json.dumps({"results": results}, indent=1))
        return
    for row in results:
        size = f"{row['bytes_per_site'] / 1e6:6.3f} MB per site" if "bytes_per_site" in row else ""
        print(f"{row['name']:42}{row['seconds']:8.2f} s  {size}")


def measure(folder: Path, nvflare: Path | None) -> list[dict[str, Any]]:
    """Return the figures of every way; one after the other, on the same features."""
    features = np.random.default_rng(0).normal(size=(SITES * IMAGES, FEATURES)).astype(np.float32)
    features = np.clip(features, RANGE[0] + 0.01, RANGE[1] - 0.01)
    rows = [fedprint(folder / trust, trust, features) for trust in ("open", "pooled")]
    return rows if nvflare is None else [*rows, _nvflare(folder / "nvflare", nvflare, features)]


def fedprint(folder: Path, trust: str, features: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Return the figures of one job: ``open`` fingerprints of all sites, or the ``pooled`` sum with noise."""
    space = _space()
    prepared = write_consortium(_consortium(folder, trust), space, folder / "run")
    nodes = [Node(client_app, {"site-config": str(path)}) for path in prepared.site_files]
    run_config = {"hub-config": str(prepared.hub_file), "job-id": "statistics"}
    table = Table(features, space.extractor)
    start = time.perf_counter()
    with patch.object(jobs, "_extractor", lambda *_: table):
        grid = run_in_process(server_app, nodes, run_config, parallel=os.cpu_count() or 1, record=True)
    seconds = time.perf_counter() - start
    _check(prepared.catalogue, space, features)
    return {"name": f"fedprint, {trust}", "seconds": seconds, "bytes_per_site": _bytes_per_site(grid)}


def _space() -> Space:
    transform = Transform(_SIZE, "deterministic", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    extractor = ExtractorIdentity("timm", "table", "00" * 32, transform, FEATURES)
    low, high = (np.full(FEATURES, edge) for edge in RANGE)
    return Space(
        "table", extractor, equal_width_edges(low, high, BINS), "equal-width", "-", {"histogram": {}}
    )


def _consortium(folder: Path, trust: str) -> FederationConfig:
    folder.mkdir()
    names = [f"site-{k + 1}" for k in range(SITES)]
    for k, name in enumerate(names):
        rows = np.arange(k * IMAGES, (k + 1) * IMAGES)
        colours = np.stack([rows // 256, rows % 256, rows * 0], axis=1).astype(np.uint8)
        images = np.broadcast_to(colours[:, None, None, :], (IMAGES, _SIZE, _SIZE, 3))
        np.savez(folder / f"{name}.npz", images=images, labels=rows % 2)
    sites = "".join(
        f'[[site]]\nname = "{name}"\ntrust = "{trust}"\n[[site.dataset]]\nformat = "npz"\ntask = "digits"\n'
        f'file = "{name}.npz"\nmodality = "scan"\n'
        for name in names
    )
    cohort = _COHORT.format(sites=", ".join(f'"{name}"' for name in names)) if trust == "pooled" else ""
    head = '[consortium]\nname = "Statistics"\noutput = "run"\ndistance = "js"\n[space]\nsamples = "all"\n'
    (folder / "federation.toml").write_text(f"{head}image_size = {_SIZE}\n{sites}{cohort}")
    return FederationConfig.read(folder / "federation.toml")


def _check(catalogue: Path, space: Space, features: npt.NDArray[np.float32]) -> None:
    """Raise unless the counts over all sites are right, but for seven standard deviations of stated noise."""
    known = [entry.fingerprint for entry in Catalogue(catalogue).entries(space)]
    found = np.sum([fingerprint.histogram.counts for fingerprint in known], axis=0, dtype=np.int64)
    expected = HistogramSketch.for_space(space).update(features).counts
    variance = sum(sum(fingerprint.privacy.noise.values()) for fingerprint in known)
    off = np.abs(found - expected).max()
    if off > 7 * variance**0.5:
        raise SystemExit(f"a count is off by {off}")


def _bytes_per_site(grid: InProcessGrid) -> float:
    sent: Counter[int] = Counter()
    for message in grid.sent:
        if message.direction == "up":
            sent[message.message.metadata.src_node_id] += sum(map(len, message.blobs))
    return sum(sent.values()) / len(sent)


def _nvflare(folder: Path, python: Path, features: npt.NDArray[np.float32]) -> dict[str, Any]:
    folder.mkdir()
    for k, part in enumerate(np.split(features, SITES)):
        np.save(folder / f"site-{k + 1}.npy", part)
    job = {"sites": SITES, "bins": BINS, "range": RANGE, "threads": SITES}
    (folder / "job.json").write_text(json.dumps(job))
    script = Path(__file__).with_name("nvflare_statistics.py")
    environment = os.environ | {"PYTHONPATH": str(script.parent)}
    done = subprocess.run(
        [python, script, folder], env=environment, check=True, capture_output=True, text=True, cwd=folder
    )
    said = json.loads(done.stdout.splitlines()[-1])
    _check_nvflare(Path(said["result"]), features)
    return {"name": f"NVFlare {said['version']}, simulator", "seconds": said["seconds"]}


def _check_nvflare(path: Path, features: npt.NDArray[np.float32]) -> None:
    found = json.loads(path.read_text())["f0"]["histogram"]["Global"]["train"]
    expected, _ = np.histogram(features[:, 0], bins=BINS, range=RANGE)
    if [count for *_, count in found] != expected.tolist():
        raise SystemExit("NVFlare counted something else")


if __name__ == "__main__":
    main()
