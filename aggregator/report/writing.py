"""Putting the report on disk: wholly or not at all."""

import errno
import os
from pathlib import Path

from aggregator.report.data import ReportData
from aggregator.report.render import render_report
from federation.errors import StoreError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_report(report: ReportData, path: Path) -> None:
    """Write the report as one HTML file; an existing file is replaced only by a complete one.

    Args:
        report: What to show.
        path: Where to write it; missing folders are made.

    Raises:
        StoreError: If the disk is full or the place cannot be written to. A report that was there
            before is unchanged.
    """
    page = render_report(report).encode()
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(partial, page)
        partial.replace(path)
    except OSError as error:
        _discard(partial)
        raise StoreError(
            f"the report ({len(page):,} bytes) cannot be written to {path}: {error.strerror}",
            remedy=_remedy(error, path),
        ) from error


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _discard(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError:
        # The place is not even readable; the error already on its way says so.
        return


def _remedy(error: OSError, path: Path) -> str:
    if error.errno in _NO_ROOM:
        return f"free some space on the disk of {path.parent}, or choose another place"
    return "choose a file in a folder that you may write to"
