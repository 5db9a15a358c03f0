"""Who holds what in the demo consortium, and writing it to disk as image folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from deploy.demo_images.holdings import HOLDINGS, INSTITUTIONS, Holding
from deploy.demo_images.patches import Patch
from federation.errors import DataError
from federation.expert_properties import ExpertProperties


@dataclass(frozen=True)
class DemoTask:
    """One labelled dataset of the demo.

    Args:
        task: Name at its site.
        folder: Image folder: one sub-folder per class, PNG files.
        title: One line for people.
        modality: How the images were made.
        body_part: What they show; "-" where no body is.
        keywords: Free words.
        properties: Six visual properties.
        licence: Terms of the source picture, as its package states them.
        what_it_is: Where the patches come from and how they got their labels.
        twin: ``site/task`` that a person would expect as the best source, "" where there is none. For
            the reader of a result only; nothing that recommends may look at it.
    """

    task: str
    folder: Path
    title: str
    modality: str
    body_part: str
    keywords: tuple[str, ...]
    properties: ExpertProperties
    licence: str
    what_it_is: str
    twin: str


@dataclass(frozen=True)
class DemoSite:
    """One institution of the demo.

    Args:
        site: Its name in the federation.
        institution: What it calls itself; invented.
        tasks: Its datasets.
    """

    site: str
    institution: str
    tasks: tuple[DemoTask, ...]


def write_demo_consortium(root: Path) -> list[DemoSite]:
    """Write the whole consortium below a folder: ``root/site/task/class/patch.png``.

    The same packages give the same bytes every time. Writing again into the same folder is allowed.

    Args:
        root: Folder to write into; made if missing.

    Returns:
        The sites in alphabetical order.

    Raises:
        ConfigError: If a package that holds the pictures is missing.
        DataError: If the folder holds PNG files of something else, or cannot be written.
    """
    files = {path: patch for holding in HOLDINGS for path, patch in _files(root, holding).items()}
    _refuse_strangers(root, files)
    try:
        for path, patch in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_if_changed(path, patch)
    except OSError as error:
        raise DataError(
            f"cannot write the demo images to {root}: {error.strerror or error}",
            remedy="choose a writable folder with 20 MB of free space",
        ) from error
    return [DemoSite(site, name, _tasks(root, site)) for site, name in INSTITUTIONS.items()]


def _write_if_changed(path: Path, patch: Patch) -> None:
    """Leave an unchanged picture alone: its time of change tells sites whether to sketch again."""
    picture = BytesIO()
    Image.fromarray(patch.pixels).save(picture, "PNG", compress_level=1)
    if not (path.exists() and path.read_bytes() == picture.getvalue()):
        path.write_bytes(picture.getvalue())


def _files(root: Path, holding: Holding) -> dict[Path, Patch]:
    folder = root / holding.site / holding.task
    return {folder / patch.label / f"{patch.name}.png": patch for patch in holding.patches()}


def _tasks(root: Path, site: str) -> tuple[DemoTask, ...]:
    return tuple(
        DemoTask(
            task=held.task,
            folder=root / held.site / held.task,
            title=held.title,
            modality=held.modality,
            body_part=held.body_part,
            keywords=held.keywords,
            properties=held.properties,
            licence=held.licence,
            what_it_is=held.what_it_is,
            twin=held.twin,
        )
        for held in HOLDINGS
        if held.site == site
    )


def _refuse_strangers(root: Path, files: Mapping[Path, Patch]) -> None:
    """Pictures of anything else would silently become part of a dataset."""
    strangers = sorted(set(root.rglob("*.png")) - set(files)) if root.is_dir() else []
    if strangers:
        raise DataError(
            f"{root} already holds {len(strangers)} other pictures, for example {strangers[0].name}",
            remedy="choose an empty folder for the demo",
        )
