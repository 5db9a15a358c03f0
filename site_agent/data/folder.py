"""Class per sub-folder, with or without a layer of split folders above."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from federation.errors import DataError
from site_agent.data.decode import SUFFIXES
from site_agent.data.files import FileSource
from site_agent.data.source import Listing
from site_agent.data.tree import FileEntry, log_ignored, open_tree, suffixes
from site_agent.dataset_config import FolderConfig

SPLIT_FOLDERS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def open_folder(config: FolderConfig) -> FileSource:
    """List the images below a folder or zip archive, labelled by folder.

    ``root/class/**/image`` is the plain layout. Where the folders at the top are called train, val and
    test and hold folders themselves, they are splits: ``root/split/class/**/image``.

    Raises:
        DataError: If the root is missing or no image lies in a class folder.
    """
    tree = open_tree(config.root)
    files = tree.files()
    images = labelled(files, lambda entry: entry.suffix in SUFFIXES)
    log_ignored(config.root, list(set(files) - set(images)))
    if not images:
        raise DataError(no_images(config.root, files), remedy=_remedy(files))
    paths = [entry.path for entry in images]
    classes, splits = classes_and_splits(paths)
    listing = Listing.of(paths, [entry.stamp for entry in images], classes, splits=splits)
    return FileSource(tree, paths, listing, config.bit_depth)


def labelled(files: Sequence[FileEntry], is_image: Callable[[FileEntry], bool]) -> list[FileEntry]:
    """Return the images that lie in a folder, whose name is their label."""
    return [entry for entry in files if "/" in entry.path and is_image(entry)]


def classes_and_splits(paths: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return class per image, and split per image or None, as the folder names say."""
    parts = [PurePosixPath(path).parts for path in paths]
    if all(part[0].lower() in SPLIT_FOLDERS and len(part) > 2 for part in parts):
        return [part[1] for part in parts], [part[0] for part in parts]
    return [part[0] for part in parts], None


def no_images(root: Path, files: Sequence[FileEntry]) -> str:
    """Say that there is no image, and what there is instead."""
    if any("/" not in entry.path and entry.suffix in SUFFIXES for entry in files):
        return f"{root} holds images directly, not in one sub-folder per class"
    found = f"it holds {len(files)} other files ({suffixes(files)})" if files else "it is empty"
    return f"{root} holds no images: {found}"


def _remedy(files: Sequence[FileEntry]) -> str:
    if any(entry.suffix == ".dcm" for entry in files):
        return 'set format = "dicom"'
    return 'sort the images into sub-folders named like their classes, or list them in a CSV (format = "csv")'
