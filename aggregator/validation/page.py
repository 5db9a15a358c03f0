"""The results of a validation study as one HTML page that needs nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aggregator.report.page import asset, content_security_policy, environment
from aggregator.study import Setting, Study
from aggregator.validation.drawing import Curves, Forest, by_weighted_tau, curves, forest
from aggregator.validation.evaluate import Result
from aggregator.validation.selectors import NO_TRANSFER, RANDOM
from aggregator.validation.tables import HEADINGS, by_setting, cells, say_chance, say_setting
from federation.files import write_atomically


@dataclass(frozen=True)
class Row:
    """A line of a table; a reference is what every selector is compared with."""

    cells: Sequence[str]
    reference: bool


@dataclass(frozen=True)
class Section:
    """What the page shows of one setting."""

    anchor: str
    title: str
    chance: str
    rows: Sequence[Row]
    forest: Forest | None
    curves: Curves | None


def render_page(study: Study, results: Sequence[Result], title: str) -> str:
    """Return the page.

    Args:
        study: What was judged on.
        results: What ``evaluate`` found.
        title: Heading of the page.
    """
    style = f"{asset('style.css')}\n{asset('validation.css')}"
    return (
        environment()
        .get_template("validation.html.j2")
        .render(
            policy=content_security_policy(style),
            style=style,
            title=title,
            study=study,
            n_selectors=len({result.selector for result in results}),
            headings=HEADINGS,
            sections=sections(results),
        )
    )


def sections(results: Sequence[Result]) -> list[Section]:
    """Return what a page shows of every setting, for the template ``setting.html.j2``."""
    return [_section(setting, group) for setting, group in by_setting(results).items()]


def write_page(study: Study, results: Sequence[Result], path: Path, title: str) -> None:
    """Write the page; an existing file is replaced only by a complete one.

    Raises:
        StoreError: If the disk is full or the place cannot be written to.
    """
    write_atomically(path, render_page(study, results, title).encode())


def _section(setting: Setting, results: Sequence[Result]) -> Section:
    return Section(
        anchor=f"{setting.scenario}-{setting.metric}",
        title=say_setting(setting),
        chance=say_chance(results),
        rows=[Row(cells(each), each.selector in (RANDOM, NO_TRANSFER)) for each in by_weighted_tau(results)],
        forest=forest(results),
        curves=curves(results),
    )
