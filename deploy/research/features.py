"""Raw features and labels of every task of a federation file, extracted once and kept in the run's folder."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.federation_file import FederationConfig
from federation.container import pack, unpack
from federation.errors import FedprintError
from federation.files import read_file, write_atomically
from federation.fingerprint import Fingerprint
from federation.names import task_key
from federation.sampling import SamplingPlan
from federation.sketches import zeros
from federation.space import Space
from federation.trust import TrustMode
from site_agent.data import open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.extractors import Extractor
from site_agent.loading import ImageStream
from site_agent.release import Candidate
from site_agent.sketch_work import Work

log = logging.getLogger("fedprint.research")

OnProgress = Callable[[str, str, int, int], None]


@dataclass(frozen=True, eq=False)
class TaskFeatures:
    """A task as nobody but its own site would see it.

    Args:
        key: Address, ``site/task``.
        features: float32 [n_images, n_features].
        labels: int64 [n_images].
        fingerprint: What a federation would see: the exact sketches of the same images.
    """

    key: str
    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    fingerprint: Fingerprint

    def at_most(self, n_images: int) -> "TaskFeatures":
        """Return a random part of the images, the same one every time."""
        if n_images >= len(self.labels):
            return self
        kept = np.sort(np.random.default_rng(0).permutation(len(self.labels))[:n_images])
        return replace(self, features=self.features[kept], labels=self.labels[kept])


def read_tasks(
    config: FederationConfig, space: Space, extractor: Extractor, folder: Path, on_progress: OnProgress
) -> Iterator[TaskFeatures]:
    """Yield every task of a federation file, whatever its trust mode: all data lie on this machine.

    Args:
        config: The federation.
        space: Its space.
        extractor: The network of the space.
        folder: Where features are kept between runs.
        on_progress: Told site, task, images done and their number.

    Raises:
        DataError: If a dataset cannot be used.
    """
    for site in config.site:
        for dataset in site.dataset:

            def tell(done: int, total: int, site: str = site.name, task: str = dataset.task) -> None:
                on_progress(site, task, done, total)

            yield _read_task(site.name, dataset, space, config.space.sampling, extractor, folder, tell)


def _read_task(
    site: str,
    dataset: DatasetConfig,
    space: Space,
    sampling: SamplingPlan,
    extractor: Extractor,
    folder: Path,
    on_progress: Callable[[int, int], None],
) -> TaskFeatures:
    source = open_source(dataset)
    work = Work(source, space, sampling, dataset.max_unreadable, deadline=np.inf)
    features, labels = _extract_once(work, extractor, folder, on_progress)
    sketches = {kind: sketch.update(features) for kind, sketch in zeros(space).items()}
    card = dataset.card(len(labels), source.class_counts())
    candidate = Candidate(card, sketches, space, sampling, extractor.arithmetic, 0)
    return TaskFeatures(
        task_key(site, dataset.task), features, labels, candidate.fingerprint(site, TrustMode.LISTEN)
    )


def _extract_once(
    work: Work, extractor: Extractor, folder: Path, on_progress: Callable[[int, int], None]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    path = folder / f"{work.key(extractor.arithmetic)}.safetensors"
    try:
        if path.exists():
            arrays = unpack(read_file(path, "features"), "features")[1]
            on_progress(len(arrays["labels"]), len(arrays["labels"]))
            return arrays["features"], arrays["labels"]
    except FedprintError as error:
        log.warning("the kept features %s are unusable and are made again: %s", path.name, error)
    features, labels = _extract(work, extractor, on_progress)
    write_atomically(path, pack({}, {"features": features, "labels": labels}))
    return features, labels


def _extract(
    work: Work, extractor: Extractor, on_progress: Callable[[int, int], None]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    stream = ImageStream(
        work.source,
        work.space.extractor.transform,
        work.sampling,
        batch_size=max(64, extractor.batch_size),
        max_unreadable=work.max_unreadable,
    )
    features, labels = [], []
    for batch in stream:
        features.append(extractor(batch.images))
        labels.append(batch.labels.numpy())
        on_progress(min(sum(map(len, labels)), len(stream) - 1), len(stream))
    on_progress(len(stream), len(stream))
    return np.concatenate(features), np.concatenate(labels)
