"""Measured transfer: what one source did for one target, as people report it in CSV files."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from difflib import get_close_matches
from pathlib import Path

from aggregator.measurement import MOST_SEEDS, SEED_RULE, objection, parse_number, parse_seed
from aggregator.study import SCENARIOS
from federation.errors import FedprintError, OutcomeError
from federation.files import read_file
from federation.names import check_name

Key = tuple[str, str, int, str, str]
Repetition = tuple[str, str, int, str]
_SHOWN = 5
_ALIKE = 0.75


@dataclass(frozen=True, order=True)
class Outcome:
    """One measured transfer.

    Args:
        scenario: What was transferred, one of ``SCENARIOS`` of validation.
        metric: How success was measured, such as ``auroc``; higher is better.
        seed: Which repetition.
        source: Address of the source, ``site/task``.
        target: Address of the target.
        value: The metric with transfer.
        baseline: The metric of the same target and repetition without transfer; None where not measured.

    Raises:
        OutcomeError: If a field cannot be what it should be.
    """

    scenario: str
    metric: str
    seed: int
    source: str
    target: str
    value: float
    baseline: float | None = None

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise OutcomeError(
                f"there is no scenario {self.scenario!r}", remedy=f"use one of: {', '.join(SCENARIOS)}"
            )
        _check_names(self)
        if not 0 <= self.seed < MOST_SEEDS:
            raise OutcomeError(f"seed is {self.seed!r}", remedy=SEED_RULE)
        if self.source == self.target:
            raise OutcomeError(
                f"{self.source} is source and target", remedy="put the result without transfer into baseline"
            )
        for name, value in (("value", self.value), ("baseline", self.baseline)):
            if value is not None and not math.isfinite(value):
                raise OutcomeError(
                    f"{name} is {value}", remedy="use a finite number, or leave out what failed"
                )

    @property
    def key(self) -> Key:
        """What identifies the measurement."""
        return (self.scenario, self.metric, self.seed, self.source, self.target)

    @property
    def repetition(self) -> Repetition:
        """What identifies its baseline: everything but the source."""
        return (self.scenario, self.metric, self.seed, self.target)


COLUMNS = tuple(field.name for field in fields(Outcome))


@dataclass(frozen=True)
class OutcomeFile:
    """The content of an outcome file.

    Args:
        outcomes: The measurements, each once.
        n_unmeasured: Number of lines that name a pair and no value yet.
        n_baseline_only: Number of lines that state a baseline and no value.
    """

    outcomes: tuple[Outcome, ...]
    n_unmeasured: int
    n_baseline_only: int


def read_outcomes(path: Path) -> OutcomeFile:
    """Read a CSV file with the header ``scenario,metric,seed,source,target,value,baseline``.

    Lines that start with ``#`` are comments.

    Raises:
        OutcomeError: Naming file, line and remedy of what is wrong.
        StoreError: If the file cannot be read.
    """
    try:
        text = read_file(path, "outcome file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OutcomeError(f"{path} is not UTF-8 text", remedy="save it as UTF-8") from error
    numbered = _rows(path, text)
    measured: dict[int, Outcome] = {}
    complaints: list[str] = []
    for number, row in numbered:
        try:
            if row["value"]:
                measured[number] = _outcome(row)
        except FedprintError as error:
            complaints.append(f"line {number}: {error}")
    if complaints:
        more = f"; and {len(complaints) - _SHOWN} more lines" if len(complaints) > _SHOWN else ""
        raise OutcomeError(f"{path}: {'; '.join(complaints[:_SHOWN])}{more}")
    _check_baselines(path, measured)
    outcomes = _each_once(path, measured)
    empty = [row["baseline"] for _, row in numbered if not row["value"]]
    return OutcomeFile(outcomes, empty.count(""), len(empty) - empty.count(""))


def to_csv(outcomes: Iterable[Outcome]) -> str:
    """Return outcomes as text that ``read_outcomes`` reads back to the last bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(outcome) for outcome in outcomes)
    return text.getvalue()


def baselines(outcomes: Iterable[Outcome]) -> dict[Repetition, float]:
    """Return (scenario, metric, seed, target) → the metric without transfer, where it was measured.

    Raises:
        OutcomeError: If two measurements state different ones.
    """
    found: dict[Repetition, float] = {}
    for outcome in outcomes:
        if outcome.baseline is None:
            continue
        known = found.setdefault(outcome.repetition, outcome.baseline)
        if known != outcome.baseline:
            raise OutcomeError(
                f"{outcome.target} has two baselines for {outcome.scenario}, {outcome.metric}, "
                f"seed {outcome.seed}: {known} and {outcome.baseline}",
                remedy="state the same baseline for every source of a target",
            )
    return found


def _check_names(outcome: Outcome) -> None:
    try:
        check_name("metric", outcome.metric)
        for address in (outcome.source, outcome.target):
            site, slash, task = address.partition("/")
            if not slash:
                raise OutcomeError(f"{address!r} is no address", remedy="write site/task")
            check_name("site", site)
            check_name("task", task)
    except FedprintError as error:
        raise OutcomeError(error.problem, remedy=error.remedy) from error


def _rows(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells by column of every line that is neither empty nor a comment."""
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    rows = [(number, _cells(path, number, line)) for number, line in numbered]
    if not rows or tuple(rows[0][1]) != COLUMNS:
        begins = f"begins with {','.join(rows[0][1])!r}" if rows else "is empty"
        raise OutcomeError(f"{path} {begins}", remedy=f"its first line must be {','.join(COLUMNS)}")
    for number, cells in rows[1:]:
        if len(cells) != len(COLUMNS):
            raise OutcomeError(
                f"{path}: line {number} has {len(cells)} cells, expected {len(COLUMNS)}",
                remedy="leave cells empty instead of leaving them out",
            )
    return [(number, dict(zip(COLUMNS, cells, strict=True))) for number, cells in rows[1:]]


def _cells(path: Path, number: int, line: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line]))]
    except csv.Error as error:
        raise OutcomeError(f"{path}: line {number} is no CSV: {error}", remedy="correct the line") from error


def _outcome(row: Mapping[str, str]) -> Outcome:
    seed = parse_seed(row["seed"])
    if seed is None:
        raise OutcomeError(f"seed is {row['seed']!r}", remedy=SEED_RULE)
    outcome = Outcome(
        row["scenario"],
        row["metric"],
        seed,
        row["source"],
        row["target"],
        _number("value", row["value"]),
        _number("baseline", row["baseline"]) if row["baseline"] else None,
    )
    for name, value in (("value", outcome.value), ("baseline", outcome.baseline)):
        against = None if value is None else objection(outcome.metric, value)
        if against:
            raise OutcomeError(f"{name} is {against[0]}", remedy=against[1])
    return outcome


def _number(name: str, cell: str) -> float:
    number = parse_number(cell)
    if number is None:
        raise OutcomeError(f"{name} is {cell!r}", remedy="use a number such as 0.93")
    return number


def _each_once(path: Path, measured: Mapping[int, Outcome]) -> tuple[Outcome, ...]:
    lines: dict[Key, int] = {}
    for number, outcome in measured.items():
        first = lines.setdefault(outcome.key, number)
        if measured[first] != outcome:
            raise OutcomeError(
                f"{path}: lines {first} and {number} measure the same and differ", remedy="keep one of them"
            )
    return tuple(measured[number] for number in lines.values())


def _check_baselines(path: Path, measured: Mapping[int, Outcome]) -> None:
    first: dict[Repetition, int] = {}
    for number, outcome in measured.items():
        if outcome.baseline is None:
            continue
        earlier = first.setdefault(outcome.repetition, number)
        if measured[earlier].baseline != outcome.baseline:
            raise OutcomeError(
                f"{path}: lines {earlier} and {number} state two baselines of {outcome.target} for "
                f"{outcome.scenario}, {outcome.metric}, seed {outcome.seed}",
                remedy="state the same baseline for every source of a target",
            )


def unknown_tasks(outcomes: Iterable[Outcome], known: Sequence[str]) -> dict[str, list[str]]:
    """Return the addresses in outcomes that are none of the known ones, sorted, with known ones like them."""
    named = {address for outcome in outcomes for address in (outcome.source, outcome.target)}
    return {
        address: get_close_matches(address, known, n=2, cutoff=_ALIKE)
        for address in sorted(named - set(known))
    }
