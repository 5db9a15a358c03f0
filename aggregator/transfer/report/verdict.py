"""What a test shows and what it does not, in one plain sentence."""

import math
from collections.abc import Sequence

from aggregator.transfer.report.hypotheses import (
    AGREEMENT,
    CLAIMS,
    GAIN,
    H3,
    NEARNESS,
    POOLED,
    WITHIN,
    Test,
)
from aggregator.transfer.report.table import Table, interval, say_signed

FEWEST = 8
"""With fewer targets a test finds only what anyone would see without it."""

_LEVEL = 0.05
_SAID = {
    GAIN: "More gain inside a group than outside",
    NEARNESS: "Smaller distances inside a group than outside",
    WITHIN: "More gain from nearer sources",
    AGREEMENT: "More agreement between nearer tasks",
}


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
    if test.p_adjusted <= _LEVEL and not _clears_zero(test):
        return f"Undecided: its p-value is small, its interval holds zero: {found}."
    if test.p <= _LEVEL < test.p_adjusted:
        return f"Alone it would count, among all tests of its kind it does not: {found}."
    if not math.isfinite(test.p_adjusted) or test.p_adjusted > _LEVEL:
        return f"The data do not show it: {found}; what lies inside the interval stays possible."
    if test.value > 0:
        return f"The data show it: {found}."
    return f"The data show the opposite: {found}."


def conclusion(tests: Sequence[Test], hypothesis: str) -> str:
    """Return what all tests of a hypothesis show together, one sentence per statistic."""
    tested = [t for t in tests if t.hypothesis == hypothesis and math.isfinite(t.value)]
    families = [[t for t in tested if t.statistic == name] for name in _SAID]
    said = [_say_family(family, hypothesis) for family in families if family]
    return " ".join(said) or f"{hypothesis} could not be tested: nothing was measured that speaks of it."


def _say_family(tests: Sequence[Test], hypothesis: str) -> str:
    what, most = _SAID[tests[0].statistic], max(test.n_targets for test in tests)
    units = "tasks" if hypothesis == H3 else "targets"
    if most < FEWEST:
        return f"{what}: not really tested, with {most} {units} at most the tests have no power."
    passed = [t for t in tests if t.n_targets >= FEWEST and t.p_adjusted <= _LEVEL]
    sure = [t for t in passed if _clears_zero(t)]
    held, reversed_ = [t for t in sure if t.value > 0], [t for t in sure if t.value < 0]
    if not sure:
        return (
            f"{what}: shown by none of {len(tests)} tests at the 5 % level, with up to {most} {units}, which "
            "is no proof of the contrary."
        )
    contrary = f"; the opposite by {len(reversed_)}" if reversed_ else ""
    return (
        f"{what}: shown by {len(held)} of {len(tests)} tests at the 5 % level, corrected for their number, "
        f"with up to {most} {units}{contrary}."
    )


def _clears_zero(test: Test) -> bool:
    """Whether a test's interval, where it has one, lies on one side of zero."""
    low, high = test.interval
    return not (low <= 0 <= high)


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
