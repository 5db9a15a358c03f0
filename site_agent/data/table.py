"""CSV tables that name images and their labels."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from federation.errors import DataError
from site_agent.data.files import FileSource
from site_agent.data.source import Listing
from site_agent.data.tree import FileEntry, open_tree
from site_agent.dataset_config import Columns, CsvConfig

_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        line: Line number in the file, counted from 1.
        key: What the path column holds.
        label: The class.
        patient: Whose image it is, or None without such a column.
        split: Its split, or None without such a column.
    """

    line: int
    key: str = field(repr=False)
    label: str
    patient: str | None = field(repr=False)
    split: str | None


def open_csv(config: CsvConfig) -> FileSource:
    """List the images that a CSV file names.

    Files that are named but missing stay in the list and are reported when they are read, unless all are.

    Raises:
        DataError: If table or images are missing, or a row cannot be used; the message gives the line.
    """
    rows = read_table(config.table, config.columns)
    tree = open_tree(config.images or config.table.parent)
    paths = [relative_path(row, config.table, tree.root) for row in rows]
    _refuse_duplicates(rows, paths, config.table)
    found = [tree.find(path) for path in paths]
    if not any(found):
        raise DataError(
            f"none of the {len(paths)} images that {config.table.name} names exists below {tree.root}, "
            f"for example {paths[0]!r}",
            remedy="set images to the folder or .zip file that the paths start from",
        )
    listing = Listing.of(paths, list(map(_stamp, found)), [row.label for row in rows], *_extras(rows))
    return FileSource(tree, paths, listing, config.bit_depth)


def read_table(table: Path, columns: Columns) -> list[Row]:
    """Return the rows of a CSV file: UTF-8, header line, separated by comma, semicolon or tab.

    Raises:
        DataError: If the file or a column is missing, or a cell that must be filled is empty.
    """
    lines = _lines(table)
    header = [cell.strip() for cell in lines[0][1]] if lines else []
    positions = _positions(header, columns, table)
    rows = [_row(cells, line, positions, len(header), table) for line, cells in lines[1:]]
    if not rows:
        raise DataError(f"{table} has no rows below its header", remedy="list at least one image")
    return rows


def relative_path(row: Row, table: Path, root: Path) -> str:
    """Return the path of a row relative to the images root, refusing to leave it.

    Raises:
        DataError: If the path climbs above the root or is absolute and not below it.
    """
    path = PurePosixPath(row.key.replace("\\", "/"))
    if path.is_absolute() and path.is_relative_to(root.absolute().as_posix()):
        path = path.relative_to(root.absolute().as_posix())
    if path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"{table.name} line {row.line}: {row.key!r} leads out of the images root {root}",
            remedy="give paths relative to the images root, without '..'",
        )
    return path.as_posix()


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    text = _text(table)
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(_DELIMITERS, key=header.count))
    try:
        return [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(
            f"{table} line {reader.line_num} is no CSV ({error})", remedy="export it again"
        ) from error


def _text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(
            f"cannot read the table {table} ({error.strerror})",
            remedy="correct its path in the configuration",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 text", remedy='save it as "CSV UTF-8"') from error


def _positions(header: list[str], columns: Columns, table: Path) -> dict[str, int]:
    wanted = {"path": columns.path, "label": columns.label}
    wanted |= {
        field: name or field
        for field, name in (("patient", columns.patient), ("split", columns.split))
        if name is not None or field in header
    }
    for what, name in wanted.items():
        if header.count(name) != 1:
            problem = "twice" if header.count(name) else "not"
            raise DataError(
                f"{table} has no single column {name!r} for the {what}: it is {problem} among {header}",
                remedy=f'set columns = {{ {what} = "…" }} to the right one',
            )
    return {field: header.index(name) for field, name in wanted.items()}


def _row(cells: list[str], line: int, positions: dict[str, int], width: int, table: Path) -> Row:
    if len(cells) != width:
        raise DataError(
            f"{table.name} line {line} has {len(cells)} cells, the header has {width}",
            remedy="quote cells that contain the separator",
        )
    values = {field: cells[position].strip() for field, position in positions.items()}
    for what, value in values.items():
        if not value:
            raise DataError(
                f"{table.name} line {line}: the {what} is empty",
                remedy="fill it in or drop the row",
            )
    return Row(line, values["path"], values["label"], values.get("patient"), values.get("split"))


def _refuse_duplicates(rows: Sequence[Row], paths: Sequence[str], table: Path) -> None:
    first: dict[str, int] = {}
    for row, path in zip(rows, paths, strict=True):
        if first.setdefault(path, row.line) != row.line:
            raise DataError(
                f"{table.name} names {path!r} twice, in lines {first[path]} and {row.line}",
                remedy="keep one row per image",
            )


def _stamp(entry: FileEntry | None) -> str:
    return "missing" if entry is None else entry.stamp


def _extras(rows: Sequence[Row]) -> Iterator[list[str] | None]:
    for values in ([row.patient for row in rows], [row.split for row in rows]):
        known = [value for value in values if value is not None]
        yield known if len(known) == len(rows) else None
