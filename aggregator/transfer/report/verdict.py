"""What a test shows and what it does not, in one plain sentence."""

import math
from collections.abc import Sequence

from aggregator.transfer.report.hypotheses import CLAIMS, H3, POOLED, Test
from aggregator.transfer.report.table import Table, interval, say_signed

FEWEST = 8
"""With fewer targets a test finds only what anyone would see without it."""

_LEVEL = 0.05


def verdict(test: Test) -> str:
    """Return what one test shows."""
    units = "tasks" if test.hypothesis == H3 else "targets"
    if not math.isfinite(test.value):
        return f"Not testable: {test.n_targets} {units} have sources of both kinds, or enough of them."
    ends = interval(test.interval)
    spread = "" if ends == "–" else f", 95 % from {ends.replace(' … ', ' to ')}"
    found = f"{say_signed(test.value)}{spread}, {test.n_targets} {units}"
    if test.n_targets < FEWEST:
        return f"Only {found}: with so few {units} the test has no power, whatever it says."
    if test.statistic == POOLED:
        return f"{found}. As in the paper; differences between targets are part of it, so that it is no test."
    if not math.isfinite(test.p_adjusted) or test.p_adjusted > _LEVEL:
        return f"The data do not show it: {found}; what lies inside the interval stays possible."
    if test.value > 0:
        return f"The data show it: {found}."
    return f"The data show the opposite: {found}."


def conclusion(tests: Sequence[Test], hypothesis: str) -> str:
    """Return what all tests of a hypothesis show together."""
    tested = [t for t in tests if t.hypothesis == hypothesis and t.statistic != POOLED]
    tested = [t for t in tested if math.isfinite(t.value)]
    if not tested:
        return f"{hypothesis} could not be tested: nothing was measured that speaks of it."
    units = "tasks" if hypothesis == H3 else "targets"
    most = max(test.n_targets for test in tested)
    if most < FEWEST:
        return f"{hypothesis} was not really tested: with {most} {units} at most, the test has no power."
    sure = [t for t in tested if t.n_targets >= FEWEST and t.p_adjusted <= _LEVEL]
    held, reversed_ = [t for t in sure if t.value > 0], [t for t in sure if t.value < 0]
    if not sure:
        return (
            f"None of {len(tested)} tests of {hypothesis} shows it at the 5 % level, with up to {most} "
            f"{units}; that is no proof of the contrary."
        )
    contrary = f"; the opposite by {len(reversed_)}" if reversed_ else ""
    return (
        f"{hypothesis} is shown by {len(held)} of {len(tested)} tests at the 5 % level, corrected for their "
        f"number, with up to {most} {units}{contrary}."
    )


def hypothesis_table(tests: Sequence[Test]) -> Table:
    """Return all tests with their verdicts."""
    columns = (
        *("hypothesis", "claim", "about", "statistic", "value", "ci_low", "ci_high", "p", "p_holm"),
        *("n_targets", "n_pairs", "verdict"),
    )
    rows = tuple(
        (
            *(t.hypothesis, CLAIMS[t.hypothesis], t.about, t.statistic, t.value, *t.interval),
            *(t.p, t.p_adjusted, t.n_targets, t.n_pairs, verdict(t)),
        )
        for t in tests
    )
    return Table("hypotheses", "Hypotheses", columns, rows)
