"""The contents of a report as tables for programs."""

from dataclasses import asdict, fields
from typing import Any

from aggregator.transfer.report.contents import Contents
from aggregator.transfer.report.gains import Interval, Starts, Summary
from aggregator.transfer.report.measured import PairGain
from aggregator.transfer.report.ran import failures
from aggregator.transfer.report.table import Cell, Table
from aggregator.transfer.report.verdict import hypothesis_table
from aggregator.validation.evaluate import Result
from aggregator.validation.metrics import METRICS
from aggregator.validation.tables import results_json

_SPREAD = ("gain", "relative", "gained", "harmed")


def tables(found: Contents) -> list[Table]:
    """Return every table of a report."""
    return [
        found.experiments,
        failures(found.findings),
        _summary_table(found.summaries),
        _starts_table(found.starts),
        _pair_table(found.pairs),
        _selector_table(found.results),
        hypothesis_table(found.tests),
    ]


def to_json(found: Contents) -> dict[str, Any]:
    """Return everything as JSON that any reader accepts: no NaN."""
    return {
        "title": found.title,
        "ran": asdict(found.ran),
        "notes": list(found.notes),
        **{table.name: table.to_json() for table in tables(found) if table.name != "selectors"},
        "selectors": results_json(found.results, found.calibrations)["results"],
    }


def _summary_table(summaries: tuple[Summary, ...]) -> Table:
    columns = ("scenario", "metric", "against", "n_pairs", "n_targets")
    spread = tuple(column for name in _SPREAD for column in (name, f"{name}_low", f"{name}_high"))
    rows = tuple(tuple(_summary_cells(each)) for each in summaries)
    return Table("summary", "What transfer brought", (*columns, *spread, "relative_loss"), rows)


def _starts_table(starts: tuple[Starts, ...]) -> Table:
    columns = ("metric", "n_targets", "imagenet", "scratch", "gain", "gain_low", "gain_high", "better")
    rows = tuple((s.metric, s.n_targets, s.imagenet, s.scratch, *_flat(s.gain), s.better) for s in starts)
    return Table("starts", "ImageNet weights against random ones, without a source", columns, rows)


def _pair_table(pairs: tuple[PairGain, ...]) -> Table:
    columns = tuple(each.name for each in fields(PairGain))
    return Table(
        "pairs",
        "Gain of every pair, means over seeds",
        columns,
        tuple(tuple(getattr(p, name) for name in columns) for p in pairs),
    )


def _selector_table(results: tuple[Result, ...]) -> Table:
    spread = tuple(column for name in METRICS for column in (name, f"{name}_low", f"{name}_high"))
    rows = tuple(tuple(_selector_cells(each)) for each in results)
    columns = ("selector", "scenario", "metric", "n_targets", *spread, "win_rate")
    return Table("selectors", "Who ranks sources", columns, rows)


def _flat(found: tuple[float, Interval]) -> tuple[float, float, float]:
    mean, (low, high) = found
    return mean, low, high


def _summary_cells(s: Summary) -> list[Cell]:
    cells: list[Cell] = [s.scenario, s.metric, s.against, s.n_pairs, s.n_targets]
    cells += [value for name in _SPREAD for value in _flat(getattr(s, name))]
    return [*cells, s.relative_loss]


def _selector_cells(r: Result) -> list[Cell]:
    cells: list[Cell] = [r.selector, r.setting.scenario, r.setting.metric, r.n_targets]
    cells += [value for name in METRICS for value in _flat((r.means[name], r.intervals[name]))]
    return [*cells, r.win_rate]
