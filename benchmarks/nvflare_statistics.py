"""Histograms of a federation by NVFlare's simulator; run by ``benchmarks.federation_statistics``.

Needs ``nvflare`` and numpy, nothing of fedprint: ``PYTHON nvflare_statistics.py FOLDER``, where the folder
holds ``site-K.npy`` (float32 [images, features]) and ``job.json``. Prints one line of JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import nvflare
from nvflare.app_common.abstract.statistics_spec import (
    Bin,
    DataType,
    Feature,
    Histogram,
    HistogramType,
    Statistics,
)


class FeatureStatistics(Statistics):
    """Counts what one site has; every site reads its own file."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder, self.values = folder, None

    def initialize(self, fl_ctx) -> None:
        """Read the site's own file."""
        self.values = np.load(Path(self.folder) / f"{fl_ctx.get_identity_name()}.npy")

    def features(self):
        """Name the features."""
        return {"train": [Feature(f"f{k}", DataType.FLOAT) for k in range(self.values.shape[1])]}

    def count(self, dataset_name, feature_name):
        """Count the images."""
        del dataset_name, feature_name
        return len(self.values)

    def histogram(self, dataset_name, feature_name, num_of_bins, global_min_value, global_max_value):
        """Count the images in every bin of a feature."""
        del dataset_name
        column = self.values[:, int(feature_name[1:])]
        counts, edges = np.histogram(column, bins=num_of_bins, range=(global_min_value, global_max_value))
        bins = [
            Bin(float(low), float(high), int(count))
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
        return Histogram(HistogramType.STANDARD, bins)


def main(folder: Path) -> None:
    from nvflare.recipe import SimEnv
    from nvflare.recipe.fedstats import FedStatsRecipe

    job = json.loads((folder / "job.json").read_text())
    sites = [f"site-{k + 1}" for k in range(job["sites"])]
    low, high = job["range"]
    recipe = FedStatsRecipe(
        name="histograms",
        stats_output_path="statistics/histograms.json",
        sites=sites,
        statistic_configs={"count": {}, "histogram": {"*": {"bins": job["bins"], "range": [low, high]}}},
        stats_generator=FeatureStatistics(str(folder)),
        max_bins_percent=50,
    )
    start = time.perf_counter()
    environment = SimEnv(clients=sites, num_threads=job["threads"], workspace_root=str(folder / "workspace"))
    recipe.execute(environment)
    seconds = time.perf_counter() - start
    (found,) = folder.rglob("histograms.json")
    version = nvflare.__version__
    print("\n" + json.dumps({"seconds": seconds, "result": str(found), "version": version}))


if __name__ == "__main__":
    from nvflare_statistics import main  # components are named by their module, not by __main__

    main(Path(sys.argv[1]).resolve())
