"""What transfer experiments found, on the terminal; the report says all of it."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aggregator.transfer.experiment import Finding
from aggregator.transfer.report.gains import NO_TRANSFER, Summary, summaries
from aggregator.transfer.report.measured import PairGain, comparable, pair_gains, primary_metric
from aggregator.transfer.report.ran import reasons
from deploy.simulation import SiteProblem

_SHOWN_PROBLEMS = 8
_MEANINGS = {
    "policy": "its policy forbids it: `fedprint site check` says what it allows",
    "budget": "a ledger has no room for it",
    "no-reply": "nobody answered",
    "deadline": "it did not come on in time",
    "training": "the data or the numbers do not allow it",
    "memory": "there is not enough memory",
    "model": "a model was not what it should be",
}


def show_findings(findings: Sequence[Finding], problems: Iterable[SiteProblem], console: Console) -> bool:
    """Print what sources brought, who helped whom most, and what failed and why.

    Args:
        findings: Every finding, failed ones too.
        problems: What simulated sites wrote into their logs about failed steps.
        console: Where.

    Returns:
        Whether there are experiments, and every one was measured.
    """
    kept, notes = comparable(findings)
    pairs = pair_gains(kept)
    metric = primary_metric(pair.metric for pair in pairs)
    pairs = [pair for pair in pairs if pair.metric == metric]
    if pairs:
        console.print(_gains(_own(kept, metric), metric))
        console.print(_best_sources(pairs, metric))
    else:
        console.print("no pair was measured, so there is nothing to compare")
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}")
    _show_failures(findings, problems, console)
    return bool(findings) and all(finding.state == "done" for finding in findings)


def best_sources(pairs: Iterable[PairGain]) -> dict[str, dict[str, PairGain]]:
    """Return target → scenario → the pair that gained most."""
    best: dict[str, dict[str, PairGain]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair.target, pair.source)):
        known = best.setdefault(pair.target, {}).setdefault(pair.scenario, pair)
        if pair.gain > known.gain:
            best[pair.target][pair.scenario] = pair
    return best


def _own(findings: Sequence[Finding], metric: str) -> list[Summary]:
    return [s for s in summaries(findings) if s.against == NO_TRANSFER and s.metric == metric]


def _gains(found: Sequence[Summary], metric: str) -> Table:
    columns = ("scenario", "pairs", f"mean gain, {metric.upper()}", "95 % interval", "pairs that gained")
    table = Table(*columns, box=box.SIMPLE_HEAD, title="What transfer brought", title_justify="left")
    for each in found:
        mean, (low, high) = each.gain
        table.add_row(
            each.scenario.replace("_", "-"),
            str(each.n_pairs),
            f"{mean:+.3f}",
            f"{low:+.3f} to {high:+.3f}" if each.n_targets > 1 else "one target",
            f"{each.gained[0]:.0%}",
        )
    return table


def _best_sources(pairs: Sequence[PairGain], metric: str) -> Table:
    best = best_sources(pairs)
    scenarios = list(dict.fromkeys(pair.scenario for pair in pairs))
    title = f"Best source per target, gain in {metric.upper()}; the best of several gains by chance, too"
    table = Table("target", box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for scenario in scenarios:
        table.add_column(scenario.replace("_", "-"))
    for target, found in best.items():
        table.add_row(target, *(_best(found.get(scenario)) for scenario in scenarios))
    return table


def _best(pair: PairGain | None) -> str:
    return "" if pair is None else f"{pair.source} {pair.gain:+.3f}"


def _show_failures(findings: Sequence[Finding], problems: Iterable[SiteProblem], console: Console) -> None:
    failed = reasons(findings)
    if not failed:
        return
    table = Table("reason", "experiments", "for example", "meaning", box=box.SIMPLE_HEAD)
    table.title, table.title_justify = "What failed", "left"
    for reason, n in failed:
        first = next(f for f in findings if f.state == "failed" and (f.reason or "not stated") == reason)
        meaning = _MEANINGS.get(reason.partition(" ")[0], "")
        table.add_row(escape(reason), str(n), escape(_name(first)), meaning)
    console.print(table)
    for problem in list(dict.fromkeys(problems))[:_SHOWN_PROBLEMS]:
        console.print(f"[red]{problem.site}/{problem.task}[/red] {escape(problem.text)}")


def _name(finding: Finding) -> str:
    asked = finding.experiment
    about = f"{asked.source} → {asked.target}" if asked.source else f"{asked.target}, {asked.arm}"
    return f"{asked.scenario.replace('_', '-')}, {about}, seed {asked.seed}"
