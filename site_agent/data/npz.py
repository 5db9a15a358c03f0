"""NumPy archives: the MedMNIST layout, or plain ``images`` and ``labels``.

Images are read from disk one at a time, so memory does not grow with their number. Arrays that are stored
plainly in the archive (``np.savez``) are read in place. Compressed ones (``np.savez_compressed``, MedMNIST)
allow no access to a single image: the first access unpacks the array into a nameless temporary file, which
disappears with the process; ``TMPDIR`` says where.
"""

import shutil
import tempfile
import threading
import weakref
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy
from PIL import Image
from typing_extensions import override

from federation.errors import DataError
from site_agent.data.decode import rgb_from_array
from site_agent.data.source import ImageSource, Listing
from site_agent.data.tree import member_offset
from site_agent.dataset_config import NpzConfig

_SPLITS = ("train", "val", "test")
_CHANNELS = (1, 3, 4)
_ENTRY = ".npy"


@dataclass(frozen=True)
class _Header:
    """What the header of one array in the archive says."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    length: int


class _Images:
    """One image array of an archive, read image by image."""

    def __init__(self, archive: Path, header: _Header) -> None:
        self._archive = archive
        self._header = header
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._start = 0
        self._failure: DataError | None = None

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        shape, dtype = self._header.shape[1:], self._header.dtype
        size = int(np.prod(shape)) * dtype.itemsize
        with self._lock:
            file = self._opened()
            file.seek(self._start + index * size)
            data = file.read(size)
        return np.frombuffer(data, dtype).reshape(shape)

    def _opened(self) -> BinaryIO:
        if self._failure is not None:
            # Unpacking is long: it is not tried again for every image.
            raise DataError(self._failure.problem, remedy=self._failure.remedy)
        if self._file is None:
            try:
                self._file, self._start = self._open()
            except DataError as error:
                self._failure = error
                raise
            weakref.finalize(self, self._file.close)
        return self._file

    def _open(self) -> tuple[BinaryIO, int]:
        member = self._header.member
        if member.compress_type != zipfile.ZIP_STORED:
            return _unpacked(self._archive, member), self._header.length
        file = self._archive.open("rb")
        return file, member_offset(file, member) + self._header.length


class NpzSource(ImageSource):
    """Images of one or more arrays of a NumPy archive, one after the other.

    Args:
        file: The archive.
        arrays: Image arrays.
        positions: (array, index in it) of each image.
        listing: What is known of each image.
        bit_depth: Bits that 16-bit images really use.
    """

    def __init__(
        self,
        file: Path,
        arrays: Sequence[_Images],
        positions: Sequence[tuple[int, int]],
        listing: Listing,
        bit_depth: int,
    ) -> None:
        super().__init__(file, listing, {"bit_depth": bit_depth})
        self._arrays = tuple(arrays)
        self._positions = positions
        self._bit_depth = bit_depth

    @override
    def load(self, index: int, *, min_side: int | None = None) -> Image.Image:
        """Return one image in mode "RGB"."""
        array, position = self._positions[index]
        try:
            pixels = self._arrays[array][position]
            return rgb_from_array(_channels_last(pixels), self._bit_depth)
        except DataError as error:
            raise DataError(f"{self.name(index)}: {error.problem}", remedy=error.remedy) from error
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name(index)}: cannot be read ({error})") from error


def open_npz(config: NpzConfig) -> NpzSource:
    """List the images of a NumPy archive; only headers and labels are read.

    Labels are [n] or [n, 1]. Of yes/no labels [n, k] each combination that occurs is a class, unless
    ``label_column`` picks one.

    Raises:
        DataError: If the file is missing, has an unknown layout, or images and labels do not fit.
    """
    headers = _headers(config.file)
    prefixes = _prefixes(headers, config.file)
    parts = [_Part.read(config, headers, prefix) for prefix in prefixes]
    names = [f"{config.file.name}[{part.prefix}{i}]" for part in parts for i in range(part.n)]
    classes = [label for part in parts for label in part.classes]
    listing = Listing.of(
        names,
        [_stamp(config.file)] * len(names),
        classes,
        splits=None if prefixes == [""] else [part.prefix[:-1] for part in parts for _ in range(part.n)],
        class_names=config.class_names if set(classes) <= set(config.class_names or ()) else None,
    )
    positions = [(a, i) for a, part in enumerate(parts) for i in range(part.n)]
    return NpzSource(config.file, [part.images for part in parts], positions, listing, config.bit_depth)


@dataclass(frozen=True)
class _Part:
    """Images and class names under one prefix: ``train_``, ``val_``, ``test_``, or none."""

    prefix: str
    n: int
    images: _Images
    classes: list[str]

    @classmethod
    def read(cls, config: NpzConfig, headers: Mapping[str, _Header], prefix: str) -> "_Part":
        header = headers[f"{prefix}images"]
        _check_images(header, f"{prefix}images", config.file)
        labels = _read_array(config.file, headers[f"{prefix}labels"])
        if len(labels) != header.shape[0]:
            raise DataError(
                f"{config.file}: {header.shape[0]} {prefix}images, but {len(labels)} {prefix}labels",
                remedy="give every image one label",
            )
        return cls(prefix, len(labels), _Images(config.file, header), _classes(labels, config))


def _headers(path: Path) -> dict[str, _Header]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                member.filename.removesuffix(_ENTRY): _header(archive, member)
                for member in archive.infolist()
                if member.filename.endswith(_ENTRY)
            }
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as a NumPy archive ({error})",
            remedy="correct its path or create it again",
        ) from error


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Header:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if fortran and len(shape) > 1:
            raise ValueError(f"{member.filename} is in Fortran order: save np.ascontiguousarray of it")
        return _Header(member, shape, dtype, file.tell())


def _prefixes(headers: Mapping[str, _Header], path: Path) -> list[str]:
    candidates = [f"{split}_" for split in _SPLITS] + [""]
    found = [prefix for prefix in candidates if {f"{prefix}images", f"{prefix}labels"} <= headers.keys()]
    if not found:
        shapes = {name: list(header.shape) for name, header in headers.items()}
        raise DataError(
            f"{path} has an unknown layout: it holds {shapes or 'no arrays'}",
            remedy="name the arrays images and labels, or train_images, train_labels, val_images, …",
        )
    return [prefix for prefix in found if prefix] or [""]


def _check_images(header: _Header, name: str, path: Path) -> None:
    shape = header.shape
    grey = len(shape) == 3
    colour = len(shape) == 4 and (shape[3] in _CHANNELS or shape[1] in _CHANNELS)
    if not (grey or colour) or header.dtype.kind not in "buif":
        raise DataError(
            f"{path}: {name} has shape {list(shape)} and type {header.dtype}",
            remedy="expected numbers [n, height, width] or [n, height, width, 1, 3 or 4], no volumes",
        )


def _classes(labels: npt.NDArray[Any], config: NpzConfig) -> list[str]:
    if not len(labels):
        return []
    labels = labels.reshape(len(labels), -1)
    if config.label_column is not None:
        return [str(label) for label in _column(labels, config.label_column, config.file).tolist()]
    if labels.shape[1] > 1:
        return [_combination(row, config) for row in labels]
    return [_class_name(label, config.class_names, config.file) for label in labels[:, 0].tolist()]


def _column(labels: npt.NDArray[Any], column: int, path: Path) -> npt.NDArray[Any]:
    if column >= labels.shape[1]:
        raise DataError(
            f"{path}: label_column is {column}, there are {labels.shape[1]} label columns",
            remedy=f"choose one from 0 to {labels.shape[1] - 1}",
        )
    chosen: npt.NDArray[Any] = labels[:, column]
    return chosen


def _combination(row: npt.NDArray[Any], config: NpzConfig) -> str:
    present = np.flatnonzero(row).tolist()
    return "+".join(_class_name(label, config.class_names, config.file) for label in present) or "none"


def _class_name(label: object, names: Sequence[str] | None, path: Path) -> str:
    if names is None:
        return str(label)
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise DataError(
            f"{path}: label {label!r} has no name among the {len(names)} class_names",
            remedy="give one name per label, starting with label 0",
        )
    return names[label]


def _read_array(path: Path, header: _Header) -> npt.NDArray[Any]:
    if header.dtype.kind not in "buiUS" or not 1 <= len(header.shape) <= 2:
        raise DataError(
            f"{path}: {header.member.filename} has shape {list(header.shape)} and type {header.dtype}",
            remedy="expected integers or text [n], [n, 1], or yes/no values [n, k]",
        )
    try:
        with zipfile.ZipFile(path) as archive, archive.open(header.member) as file:
            array: npt.NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return array
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: {header.member.filename} is damaged ({error})") from error


def _unpacked(archive: Path, member: zipfile.ZipInfo) -> BinaryIO:
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < member.file_size:
        raise DataError(
            f"unpacking {member.filename} takes {member.file_size >> 20} MiB, "
            f"{tempfile.gettempdir()} has {free >> 20} MiB free",
            remedy="set TMPDIR to a larger disk, or save the archive with np.savez (uncompressed)",
        )
    try:
        with ExitStack() as on_failure, zipfile.ZipFile(archive) as file, file.open(member) as packed:
            target = on_failure.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(packed, target, 1 << 20)
            on_failure.pop_all()
            return target
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{member.filename} is damaged ({error})") from error
    except OSError as error:
        raise DataError(f"{member.filename} cannot be unpacked ({error.strerror})") from error


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _channels_last(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.ndim == 3 and pixels.shape[2] not in _CHANNELS:
        return np.moveaxis(pixels, 0, 2)
    return pixels
