"""A report as one HTML page that needs nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.report.page import asset, content_security_policy, environment
from aggregator.study import Floats
from aggregator.transfer.report.contents import Contents
from aggregator.transfer.report.gains import GainMatrix, Starts, Summary
from aggregator.transfer.report.hypotheses import CLAIMS, Test
from aggregator.transfer.report.ran import failures, reasons, say_duration
from aggregator.transfer.report.table import Table, interval, say, say_percent, say_signed
from aggregator.transfer.report.verdict import conclusion, verdict
from aggregator.validation.page import sections
from aggregator.validation.tables import HEADINGS
from federation.transfer.result import CROSS_ENTROPY

_N_SHADES = 4
_ENOUGH = 200
"""Failures that the page lists one by one; the rest is in the CSV file."""

SUMMARY_HEADINGS = (
    *("scenario", "metric", "against", "pairs", "targets", "gain", "95 % interval", "relative"),
    *("relative loss", "pairs that gained", "95 % interval", "negative transfer"),
)
STARTS_HEADINGS = ("metric", "targets", "ImageNet", "scratch", "ImageNet better by", "95 % interval", "at")
TEST_HEADINGS = (
    *("about", "statistic", "value", "95 % interval", "p", "p (Holm)", "targets", "what the data show"),
)


@dataclass(frozen=True)
class GainCell:
    """One pair: what it says, its shade, and everything in one line."""

    text: str
    css: str
    title: str


@dataclass(frozen=True)
class GainTable:
    """A matrix of gains as text and shades."""

    title: str
    anchor: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[GainCell]]]
    most: str


@dataclass(frozen=True)
class Hypothesis:
    """One hypothesis with all its tests."""

    name: str
    claim: str
    conclusion: str
    rows: Sequence[Sequence[str]]


def render(found: Contents, files: Sequence[str]) -> str:
    """Return the page.

    Args:
        found: What it says.
        files: Names of the files beside it.
    """
    style = "\n".join(map(asset, ("style.css", "validation.css", "transfer.css")))
    failed = failures(found.findings)
    return (
        environment()
        .get_template("transfer.html.j2")
        .render(
            policy=content_security_policy(style),
            style=style,
            found=found,
            files=files,
            duration=say_duration(found.ran.seconds),
            experiments=found.experiments,
            reasons=reasons(found.findings),
            failed=Table(failed.name, failed.title, failed.columns, failed.rows[:_ENOUGH]),
            n_failed=len(failed.rows),
            summary_headings=SUMMARY_HEADINGS,
            summaries=[_summary(each) for each in found.summaries],
            starts_headings=STARTS_HEADINGS,
            starts=[_starts(each) for each in found.starts],
            matrices=[_gain_table(each) for each in found.matrices],
            headings=HEADINGS,
            sections=sections(found.results),
            test_headings=TEST_HEADINGS,
            hypotheses=[_hypothesis(name, claim, found.tests) for name, claim in CLAIMS.items()],
        )
    )


def _summary(each: Summary) -> list[str]:
    return [
        *(each.scenario.replace("_", "-"), _metric(each.metric), _against(each.against)),
        *(str(each.n_pairs), str(each.n_targets)),
        *(say_signed(each.gain[0]), interval(each.gain[1]), say_percent(each.relative[0])),
        say(round(each.relative_loss, 3)) if math.isfinite(each.relative_loss) else "–",
        *(_share(each.gained[0]), _shares(each.gained[1]), _share(each.harmed[0])),
    ]


def _starts(each: Starts) -> list[str]:
    return [
        *(_metric(each.metric), str(each.n_targets), f"{each.imagenet:.3f}", f"{each.scratch:.3f}"),
        *(say_signed(each.gain[0]), interval(each.gain[1]), f"{_share(each.better)} of targets"),
    ]


def _gain_table(found: GainMatrix) -> GainTable:
    shown = found.relative if np.isfinite(found.relative).any() else found.gain
    known = np.abs(shown[np.isfinite(shown)])
    # One wild pair must not bleach all others.
    most = float(np.quantile(known, 0.95)) if len(known) else 0.0
    rows = [
        (source, [_cell(found, i, j, shown, most) for j in range(len(found.targets))])
        for i, source in enumerate(found.sources)
    ]
    title = f"{found.scenario.replace('_', '-')}, {_metric(found.metric)}"
    said = f"{100 * most:.2g} %"
    return GainTable(title, f"gains-{found.scenario}", found.targets, rows, said)


def _cell(found: GainMatrix, i: int, j: int, shown: Floats, most: float) -> GainCell:
    source, target, value = found.sources[i], found.targets[j], float(shown[i, j])
    if source == target:
        return GainCell("", "me", "the target itself")
    if not math.isfinite(value):
        return GainCell("", "na", f"{source} → {target}: not measured")
    share = min(abs(value) / most, 1.0) if most else 0.0
    shade = math.ceil(share * _N_SHADES - 1e-9)
    css = f"{'up' if value > 0 else 'down'}{shade}" if shade else "even"
    gain, relative = say_signed(float(found.gain[i, j]), 4), say_percent(value, 2)
    return GainCell(say_signed(100 * value, 1), css, f"{source} → {target}: {relative} ({gain})")


def _hypothesis(name: str, claim: str, tests: Sequence[Test]) -> Hypothesis:
    own = [test for test in tests if test.hypothesis == name]
    return Hypothesis(name, claim, conclusion(tests, name), [_test(test) for test in own])


def _test(test: Test) -> list[str]:
    return [
        *(test.about, test.statistic, say_signed(test.value), interval(test.interval)),
        *(_p(test.p), _p(test.p_adjusted), str(test.n_targets), verdict(test)),
    ]


def _p(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _metric(metric: str) -> str:
    return "cross-entropy" if metric == CROSS_ENTROPY else metric.upper()


def _against(arm: str) -> str:
    return {"imagenet": "ImageNet", "scratch": "scratch"}.get(arm, arm)


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if math.isfinite(value) else "–"


def _shares(ends: tuple[float, float]) -> str:
    return f"{_share(ends[0])} … {_share(ends[1])}" if math.isfinite(sum(ends)) else "–"
