"""Adding one task to a large catalogue, against computing its distances from the stored fingerprints.

``python -m benchmarks.catalogue [--tasks 10000] [--json] [--folder DIR] [--database URL]``

The catalogue is synthetic: 512 features × 100 bins, every histogram drawn from a pool of Dirichlet histograms
of 1,000 images. Each way runs in a process of its own, so that its peak memory is its own, and is repeated;
the best time counts. 10,000 tasks need 11 GB in the folder, which is emptied afterwards, or in an empty
database on a PostgreSQL server, which is left as it is.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aggregator import matrix, store
from aggregator.catalogue_place import CataloguePlace
from aggregator.growth import AT_ONCE
from aggregator.recommend import candidates
from benchmarks.timing import clock_and_processor
from federation import distances
from federation.fingerprint import Fingerprint, Provenance
from federation.identity import Identity
from federation.privacy.statement import PrivacyStatement
from federation.ranking import rank_sources
from federation.sampling import SamplingPlan
from federation.sketches import HistogramSketch
from federation.space import ExtractorIdentity, Space, Transform
from federation.task_card import TaskCard
from federation.trust import TrustMode

N_FEATURES, N_BINS, N_IMAGES, POOL = 512, 100, 1000, 64
TARGET = "site-3/task-3"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="where to build the catalogue")
    parser.add_argument(
        "--database", default="catalogue.sqlite", help="URL of an empty database; by default a file"
    )
    parser.add_argument("--way", choices=sorted(_WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        place = CataloguePlace.of(arguments.database, arguments.folder)
        print(json.dumps(_run(arguments.way, place, arguments.tasks)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = _measure(Path(folder), arguments.database, arguments.tasks)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        _show(result)


def _measure(folder: Path, database: str, n: int) -> dict[str, Any]:
    return {"tasks": n} | {way: _in_a_process(way, folder, database, n) for way in _WAYS}


def _show(result: dict[str, Any]) -> None:
    print(f"{result['tasks']:,} tasks × {N_FEATURES} features × {N_BINS} bins")
    print("                 wall  processor  peak memory")
    for way in _WAYS:
        found = result[way]
        print(
            f"{way:12s} {found['seconds']:7.2f} s {found['processor_s']:8.2f} s {found['peak_mib']:8,.0f} MiB"
        )
    ratio = result["recompute"]["seconds"] / result["add"]["seconds"]
    print(f"recomputing takes {ratio:.0f} × as long as adding")


def _space() -> Space:
    transform = Transform(224, "deterministic", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    extractor = ExtractorIdentity("timm", "synthetic", "ab" * 32, transform, N_FEATURES)
    edges = np.tile(np.linspace(0, 1, N_BINS + 1), (N_FEATURES, 1))
    return Space("synthetic", extractor, edges, "equal-width", "none")


def _fingerprints(space: Space, numbers: range) -> Iterator[Fingerprint]:
    """Every feature of a task is that feature of some task of the pool."""
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(N_BINS, 0.5), (POOL, N_FEATURES))
    pool = random.multinomial(N_IMAGES, shares)
    identity = Identity.load_or_create("site", Path(tempfile.mkdtemp()) / "site.key")
    for k in numbers:
        chosen = np.random.default_rng(k).integers(0, POOL, N_FEATURES)
        yield Fingerprint(
            site=f"site-{k}",
            card=TaskCard(f"task-{k}", N_IMAGES, {"ill": N_IMAGES // 2, "well": N_IMAGES // 2}),
            space_id=space.space_id,
            sketches={"histogram": HistogramSketch(pool[chosen, np.arange(N_FEATURES)])},
            privacy=PrivacyStatement(TrustMode.OPEN),
            provenance=Provenance("0.1.0", SamplingPlan(N_IMAGES), "float32"),
            signature=identity.sign(b""),
        )


def _build(path: CataloguePlace, space: Space, n: int) -> None:
    """Store n tasks with borders of the right size; their values are not looked at."""
    catalogue = store.Catalogue(path, create=True)
    with catalogue.writing() as writer:
        writer.add_space(space)
        for fingerprint in _fingerprints(space, range(n)):
            writer.add_fingerprint(fingerprint)
        writer.finish_run("job", space, {"distance": "cramer"})
    values = np.random.default_rng(0).random(n)
    for start in range(0, n, AT_ONCE):
        with catalogue.writing() as writer:
            for name in distances.available(space):
                for k in range(start, min(start + AT_ONCE, n)):
                    writer.add_border(k + 1, name, store.Border(values[: k + 1], values[:k]))
    catalogue.close()


def _add(path: CataloguePlace, fingerprint: Fingerprint, space: Space) -> None:
    """Store a fingerprint and its distances; the first time the mapped files are made as well."""
    catalogue = store.Catalogue(path)
    with catalogue.writing() as writer:
        writer.add_fingerprint(fingerprint)
    matrix.grow(catalogue, space)
    catalogue.close()


def _recompute(path: CataloguePlace, _: Fingerprint, space: Space) -> None:
    """The obvious way: decode every fingerprint, then one distance after the other."""
    catalogue = store.Catalogue(path)
    everyone = [entry.fingerprint for entry in catalogue.entries(space)]
    for name in distances.available(space):
        distance = distances.get(name)
        distance.matrix(everyone[-1:], everyone), distance.matrix(everyone, everyone[-1:])


def _recommend(path: CataloguePlace, _: Fingerprint, space: Space) -> None:
    catalogue = store.Catalogue(path)
    rank_sources(candidates(matrix.read_column(catalogue, space, TARGET)), "cramer")


def _list(path: CataloguePlace, _: Fingerprint, space: Space) -> None:
    catalogue = store.Catalogue(path)
    catalogue.tasks(catalogue.listings(space))


_WAYS = {
    "build": None,
    "first": _add,
    "add": _add,
    "recommend": _recommend,
    "list": _list,
    "recompute": _recompute,
}
_REPEATS = {"add": 5, "recommend": 3, "list": 3}


def _run(way: str, path: CataloguePlace, n: int) -> dict[str, float]:
    space, work = _space(), _WAYS[way]
    if work is None:
        times = [clock_and_processor(lambda: _build(path, space, n))]
    else:
        first = n if way == "first" else n + 1
        new = list(_fingerprints(space, range(first, first + _REPEATS.get(way, 1))))
        times = [clock_and_processor(lambda f=f: work(path, f, space)) for f in new]
    seconds, processor = min(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "processor_s": processor, "peak_mib": peak}


def _in_a_process(way: str, folder: Path, database: str, n: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.catalogue", "--way", way, "--tasks", str(n)]
    where = ["--folder", str(folder), "--database", database]
    output = subprocess.run([*command, *where], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(output.stdout)
    return found


if __name__ == "__main__":
    main()
