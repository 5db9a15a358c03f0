"""Whether the tables of a study speak of the same tasks, and a matrix lies the right way round."""

from collections.abc import Collection

from aggregator.validation.labelled_matrix import SHRUNK, LabelledMatrix, base_name
from aggregator.validation.outcome_file import OutcomeFile
from aggregator.validation.task_files import TaskList
from federation.errors import StudyError


def check_covers(matrix: LabelledMatrix, files: Collection[OutcomeFile], listed: TaskList) -> None:
    """Refuse a distance matrix without a row for every measured source or a column for every target.

    Args:
        matrix: The distances, rows are sources and columns are targets.
        files: The measured outcomes.
        listed: The tasks of the study.

    Raises:
        StudyError: If its axes are swapped, or a source or target is missing.
    """
    rows, columns = set(matrix.rows), set(map(base_name, matrix.columns))
    sources = dict.fromkeys(source for file in files for source in file.sources)
    targets = dict.fromkeys([*listed.targets, *(target for file in files for target in file.targets)])
    _check_axes(matrix, set(sources), set(targets))
    for file in files:
        _check_named(matrix, "row", "source", file.path, [s for s in file.sources if s not in rows])
        _check_named(matrix, "column", "target", file.path, [t for t in file.targets if t not in columns])
    missing = [target for target in listed.targets if target not in columns]
    _check_named(matrix, "column", "target", listed.path, missing)


def check_known(listed: TaskList, tasks: Collection[str]) -> None:
    """Refuse groups and exceptions of ``tasks.json`` that name tasks nothing else speaks of.

    Raises:
        StudyError: If one does; a misspelt member of a group would quietly stay a source.
    """
    named = {f"group {name!r}": members for name, members in listed.groups.items()}
    for where, members in {**named, "'not_shrunk'": tuple(sorted(listed.not_shrunk))}.items():
        for member in members:
            if member not in tasks:
                raise StudyError(
                    f"{listed.path}: {where} names {member!r}, which is no task of this study",
                    remedy="spell it as in the distance and outcome tables, or remove it",
                )


def check_used(listed: TaskList, files: Collection[OutcomeFile]) -> None:
    """Refuse a list of targets none of which was ever measured.

    Raises:
        StudyError: If no outcome belongs to a listed target.
    """
    measured = {target for file in files for target in file.targets}
    if measured.isdisjoint(listed.targets):
        raise StudyError(
            f"{listed.path}: none of its {len(listed.targets)} targets has an outcome",
            remedy="list as targets the tasks of the column 'target' of the outcome files",
        )


def _check_axes(matrix: LabelledMatrix, sources: set[str], targets: set[str]) -> None:
    rows, columns = set(matrix.rows), set(matrix.columns)
    shrunk = [name for name in matrix.rows if name.endswith(SHRUNK)]
    fits = sources <= rows and targets <= set(map(base_name, columns))
    turned_fits = sources <= columns and targets <= set(map(base_name, rows))
    why = ""
    if shrunk:
        why = f"its row {shrunk[0]!r} is an 800-image version, which only targets have"
    elif matrix.corner.lower().startswith("target"):
        why = f"its rows are headed {matrix.corner!r}"
    elif turned_fits and not fits:
        why = "its rows hold all targets and its columns all sources"
    if why:
        raise StudyError(
            f"{matrix.path} has its axes swapped: {why}",
            remedy="transpose it: rows are sources, columns are targets",
        )


def _check_named(matrix: LabelledMatrix, axis: str, role: str, where: object, missing: list[str]) -> None:
    if missing:
        more = f" (nor for {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise StudyError(
            f"{matrix.path} has no {axis} for the {role} {missing[0]!r}{more}, which {where} names",
            remedy="spell task names alike in all tables, and give every measured source a row and every "
            "target a column",
        )
