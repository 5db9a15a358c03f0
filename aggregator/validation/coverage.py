"""Whether the tables of a study speak of the same tasks, and a matrix lies the right way round."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np

from aggregator.study import Setting, Study
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


def check_distances(matrices: Iterable[LabelledMatrix]) -> None:
    """Refuse distances that compare no two tasks, and distances below every number.

    Raises:
        StudyError: If a matrix is blank outside its diagonal, or holds −∞.
    """
    for matrix in matrices:
        if np.isneginf(matrix.values).any():
            raise StudyError(f"{matrix.path} holds -inf", remedy="leave unknown cells empty")
        known = np.isfinite(matrix.values) & ~np.equal.outer(
            np.array(matrix.rows, object), np.array([*map(base_name, matrix.columns)], object)
        )
        if not known.any():
            raise StudyError(
                f"{matrix.path} holds no distance between two tasks",
                remedy="fill it in, or remove the file: nothing can be judged by it",
            )


def check_judgeable(study: Study) -> None:
    """Refuse a study in which no selector has a choice to make.

    Raises:
        StudyError: If no target has two measured sources in any setting.
    """
    if any(study.target_indices(setting) for setting in study.outcomes):
        return
    most = max(
        int(study.candidates(setting)[:, place].sum())
        for setting in study.outcomes
        for place in _judged(study)
    )
    raise StudyError(
        "nothing can be judged: no target has two measured sources to choose between "
        f"(the most is {most}; the target itself and tasks of its group do not count)",
        remedy="measure more sources for the targets, or correct the groups in tasks.json",
    )


def note_unused(
    outcomes: Collection[Setting], baselines: Mapping[tuple[str, str], LabelledMatrix]
) -> Iterator[str]:
    """Yield the baseline tables that no outcome file asks for.

    Args:
        outcomes: What was measured.
        baselines: The tables by kind (a scenario, ``full`` or ``shrunk_800``) and metric.
    """
    for (kind, metric), table in baselines.items():
        if not any(
            metric == each.metric and kind in (each.scenario, "full", "shrunk_800") for each in outcomes
        ):
            yield f"{table.path} is not used: there are no outcomes of its scenario and metric"


def note_strangers(
    where: str, named: Iterable[str], tasks: Collection[str], wanted: Collection[str]
) -> Iterator[str]:
    """Yield which names are those of no task; what other tables leave without an entry may be meant by them.

    Args:
        where: The tables that name them.
        named: The names in these tables.
        tasks: Every task of the study.
        wanted: The tasks that need an entry.

    Raises:
        StudyError: If there are such names while a wanted task has no entry: one is likely the other.
    """
    named = list(dict.fromkeys(named))
    strangers = [name for name in named if name not in tasks]
    lacking = [task for task in wanted if task not in named]
    if strangers and lacking:
        raise StudyError(
            f"{where}: {strangers[0]!r} is no task of this study, and {min(lacking)!r} has no entry there",
            remedy="spell it as in the distance and outcome tables, or remove it",
        )
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        yield f"{where}: {strangers[0]!r}{more}: no task of this study"


def _judged(study: Study) -> list[int]:
    return [study.index[target] for target in study.targets]


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
