"""Trees of DICOM files, labelled by sub-folder or by a CSV file; only headers are read to list them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image
from pydicom import Dataset
from typing_extensions import override

from federation.errors import DataError
from site_agent.data.dicom_pixels import count_frames, decode_frame, read_header
from site_agent.data.folder import classes_and_splits
from site_agent.data.source import ImageSource, Listing, printable
from site_agent.data.table import Row, read_table, relative_path
from site_agent.data.tree import FileEntry, FileTree, log_ignored, open_tree, suffixes
from site_agent.dataset_config import DicomConfig

_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
_LISTED_TAGS = [
    "PatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "NumberOfFrames",
    "Rows",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    """A file that is, or by its name claims to be, a DICOM image; the header is empty where unreadable."""

    entry: FileEntry
    header: Dataset = field(repr=False)

    @property
    def patient(self) -> str:
        """Whose image it is; empty where the file does not say."""
        return str(self.header.get("PatientID") or "").strip()

    @property
    def n_frames(self) -> int:
        return count_frames(self.header)


@dataclass(frozen=True)
class _Labelled:
    file: _File
    label: str
    split: str | None
    patient: str = field(repr=False)


class DicomSource(ImageSource):
    """Frames of DICOM files, one image each.

    Args:
        tree: The files.
        frames: (path, frame number counted from 0) of each image.
        listing: What is known of each image.
        window: (centre, width) for greyscale images, or None for the files' own.
    """

    def __init__(
        self,
        tree: FileTree,
        frames: Sequence[tuple[str, int]],
        listing: Listing,
        window: tuple[float, float] | None,
    ) -> None:
        super().__init__(tree.root, listing, {"window": list(window) if window else None})
        self._tree = tree
        self._frames = tuple(frames)
        self._window = window

    @override
    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        """Decode one frame into mode "RGB"; it is always decoded at full size."""
        path, frame = self._frames[index]
        with self._tree.open(path) as file:
            return decode_frame(file, self.name(index), frame, self._window)


def open_dicom(config: DicomConfig) -> DicomSource:
    """List the DICOM images below a folder or zip archive.

    A file counts as an image if it has a DICOM header with rows of pixels, whatever its name; files called
    ``.dcm`` without a readable header are listed too, so that they are reported by name when read. The
    patient of an image is its PatientID.

    Raises:
        DataError: If there is no image, or the labels do not fit the files.
    """
    tree = open_tree(config.root)
    entries = tree.files()
    files = [file for entry in entries if (file := _read_header(tree, entry)) is not None]
    log_ignored(config.root, list(set(entries) - {file.entry for file in files}))
    if not files:
        found = suffixes(entries) or "it is empty"
        raise DataError(f"{config.root} holds no DICOM images ({found})", remedy="correct root or format")
    if config.labels is None:
        images = _label_by_folder(files, config.root)
    else:
        images = _label_by_table(files, config, config.labels)
    return _source(tree, images, config)


def _source(tree: FileTree, images: Sequence[_Labelled], config: DicomConfig) -> DicomSource:
    chosen = [(image, frame) for image in images for frame in _frames(image.file, config.frames)]
    splits = [image.split for image, _ in chosen if image.split is not None]
    patients = [image.patient for image, _ in chosen]
    listing = Listing.of(
        [_name(image.file, frame) for image, frame in chosen],
        [image.file.entry.stamp for image, _ in chosen],
        [image.label for image, _ in chosen],
        patients if any(patients) else None,
        splits if len(splits) == len(chosen) else None,
    )
    frames = [(image.file.entry.path, frame) for image, frame in chosen]
    return DicomSource(tree, frames, listing, config.window)


def _read_header(tree: FileTree, entry: FileEntry) -> _File | None:
    claims_to_be_dicom = entry.suffix in _DICOM_SUFFIXES
    try:
        with tree.open(entry.path) as file:
            header = read_header(file, _LISTED_TAGS)
    except DataError:
        return _File(entry, Dataset()) if claims_to_be_dicom else None
    return _File(entry, header) if header.get("Rows") else None


def _label_by_folder(files: Sequence[_File], root: Path) -> list[_Labelled]:
    inside = [file for file in files if "/" in file.entry.path]
    if not inside:
        raise DataError(
            f"{root} holds DICOM images directly, not in one sub-folder per class",
            remedy="sort them into sub-folders named like their classes, or set labels to a CSV file",
        )
    classes, splits = classes_and_splits([file.entry.path for file in inside])
    return [
        _Labelled(file, label, splits[i] if splits else None, file.patient)
        for i, (file, label) in enumerate(zip(inside, classes, strict=True))
    ]


def _label_by_table(files: Sequence[_File], config: DicomConfig, table: Path) -> list[_Labelled]:
    rows = _rows_by_key(config, table)
    matches = [(file, row) for file in files if (row := _row_of(file, rows, config.match)) is not None]
    if not matches:
        raise DataError(
            f"no row of {table} fits any of the {len(files)} DICOM images below {config.root}",
            remedy=f"check that the column {config.columns.path!r} holds the {config.match} of the images",
        )
    unused = len(rows) - len({row.line for _, row in matches})
    if unused or len(matches) < len(files):
        logger.warning(
            "%s: %d rows fit no image, %d images have no row",
            table,
            unused,
            len(files) - len(matches),
        )
    return [_Labelled(file, row.label, row.split, row.patient or file.patient) for file, row in matches]


def _rows_by_key(config: DicomConfig, table: Path) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in read_table(table, config.columns):
        key = relative_path(row, table, config.root) if config.match == "path" else row.key
        if found.setdefault(key, row) is not row:
            # The key may be a patient's number: name the lines only.
            raise DataError(
                f"{table.name} lines {found[key].line} and {row.line} name the same {config.match}",
                remedy="keep one row for each",
            )
    return found


def _row_of(file: _File, rows: Mapping[str, Row], match: str) -> Row | None:
    keys = _paths_upward(file.entry.path) if match == "path" else [str(file.header.get(match, ""))]
    return next((rows[key] for key in keys if key in rows), None)


def _paths_upward(path: str) -> Iterator[str]:
    yield path
    yield from (parent.as_posix() for parent in PurePosixPath(path).parents)


def _frames(file: _File, which: str) -> Sequence[int]:
    return range(file.n_frames) if which == "all" else [file.n_frames // 2]


def _name(file: _File, frame: int) -> str:
    path = printable(file.entry.path)
    return path if file.n_frames == 1 else f"{path}#frame {frame + 1}"
