"""``fedprint hub outcomes``: measured transfer results in and out of the catalogue."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aggregator.options import CatalogueOption, JsonOption, open_catalogue, print_json
from aggregator.outcome_table import digest
from aggregator.outcomes import COLUMNS, Outcome, read_outcomes, unknown_tasks
from aggregator.store import Catalogue
from aggregator.study import SCENARIOS
from aggregator.tables import wide_console
from federation.errors import ConfigError, OutcomeError, StoreError, UnknownNameError
from federation.files import write_atomically
from federation.log.kinds import OUTCOMES

app = typer.Typer(no_args_is_help=True, help="Measured transfer outcomes.")

_SHOWN = 5


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV file; `outcomes template` writes an empty one.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace values that differ.")] = False,
    keep_unknown: Annotated[
        bool,
        typer.Option("--keep-unknown", help="Store outcomes of tasks that are not in the catalogue too."),
    ] = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Store measured outcomes: all of a file, or nothing of it."""
    store = open_catalogue(catalogue)
    content = read_outcomes(file)
    strangers = unknown_tasks(content.outcomes, _addresses(store))
    if strangers and not keep_unknown:
        _refuse(file, strangers)
    with store.writing() as writer:
        done = writer.add_outcomes(content.outcomes, replace=replace)
        if done.added or done.replaced:
            told = {"file": file.name, "added": done.added, "replaced": done.replaced}
            writer.add_event(OUTCOMES, "", **told, table=digest(writer.outcomes()))
    console = Console(highlight=False)
    console.print(f"{done.added} added, {done.replaced} replaced, {done.unchanged} there already")
    if content.n_unmeasured:
        console.print(f"{content.n_unmeasured} lines have no value yet and were passed over")
    if content.n_baseline_only:
        console.print(
            f"{content.n_baseline_only} lines state a baseline without a value and were passed over: "
            "a baseline needs a measured value beside it"
        )
    if strangers:
        console.print(f"not in the catalogue now: {escape(_first(list(strangers)))}")


@app.command()
def remove(
    scenario: Annotated[str | None, typer.Option(help="Only of this scenario.")] = None,
    metric: Annotated[str | None, typer.Option(help="Only of this metric.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only of this repetition.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source, site/task.")] = None,
    target: Annotated[str | None, typer.Option(help="Only of this target, site/task.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Delete the outcomes that all given filters fit; at least one is needed."""
    filters = {"scenario": scenario, "metric": metric, "seed": seed, "source": source, "target": target}
    wanted = {name: value for name, value in filters.items() if value is not None}
    if not wanted:
        raise ConfigError(
            "nothing says which outcomes", remedy="give " + ", ".join(f"--{n}" for n in filters)
        )
    store = open_catalogue(catalogue)
    every = store.outcomes()
    meant = [each for each in every if all(getattr(each, name) == value for name, value in wanted.items())]
    if not meant:
        said = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise UnknownNameError(f"there is no outcome of {said}", remedy="see `fedprint hub outcomes list`")
    if not yes:
        typer.confirm(f"remove {len(meant)} of {len(every)} outcomes?", abort=True)
    with store.writing() as writer:
        writer.remove_outcomes(meant)
        writer.add_event(OUTCOMES, "", removed=len(meant), by=wanted, table=digest(writer.outcomes()))
    Console(highlight=False).print(f"{len(meant)} removed, {len(every) - len(meant)} left")


@app.command("list")
def list_outcomes(catalogue: CatalogueOption = None, as_json: JsonOption = False) -> None:
    """Show the measured outcomes."""
    outcomes = open_catalogue(catalogue).outcomes()
    if as_json:
        print_json({"outcomes": [dict(zip(COLUMNS, _cells(each), strict=True)) for each in outcomes]})
    elif outcomes:
        wide_console().print(_table(outcomes))
    else:
        Console().print("no outcome has been imported; `fedprint hub outcomes template` writes an empty file")


@app.command()
def template(
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV file to write.")] = Path("outcomes.csv"),
    pairs: Annotated[bool, typer.Option("--pairs", help="One line per pair to measure.")] = False,
    scenario: Annotated[str, typer.Option(help=f"Of the pairs: {', '.join(SCENARIOS)}.")] = "pretraining",
    metric: Annotated[str, typer.Option(help="Of the pairs.")] = "auroc",
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of the pairs.")] = 3,
    catalogue: CatalogueOption = None,
) -> None:
    """Write an empty outcome file that names the catalogue's tasks, or all pairs of them."""
    if output.exists():
        raise ConfigError(f"{output} exists already", remedy="choose another name with --output")
    store = open_catalogue(catalogue)
    addresses = _addresses(store)
    if not addresses:
        raise StoreError(f"catalogue {store.place} holds no task", remedy="fingerprint some tasks first")
    lines = [f"# {address}" for address in addresses] if not pairs else []
    if pairs:
        for seed in range(seeds):
            for source, target in permutations(addresses, 2):
                checked = Outcome(scenario, metric, seed, source, target, 0.0)
                lines.append(",".join([*map(str, checked.key), "", ""]))
    write_atomically(output, "\n".join([",".join(COLUMNS), *lines, ""]).encode())
    Console().print(
        f"wrote {output}: fill in value and baseline, then `fedprint hub outcomes import {output}`"
    )


def _addresses(store: Catalogue) -> list[str]:
    entries = store.entries(store.latest_space())
    return sorted(entry.fingerprint.key for entry in entries if entry.current)


def _refuse(file: Path, strangers: Mapping[str, list[str]]) -> None:
    named = [
        f"{name} (like {' or '.join(similar)})" if similar else name for name, similar in strangers.items()
    ]
    raise OutcomeError(
        f"{file} names tasks that the catalogue does not hold: {_first(named)}; nothing was imported",
        remedy="correct the addresses, or store them as they are with `--keep-unknown`",
    )


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _cells(outcome: Outcome) -> tuple[str | int | float | None, ...]:
    return (*outcome.key, outcome.value, outcome.baseline)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(*COLUMNS, "gain", box=box.SIMPLE_HEAD)
    for outcome in outcomes:
        gain = "" if outcome.baseline is None else f"{outcome.value - outcome.baseline:+.4f}"
        cells = ["" if cell is None else escape(str(cell)) for cell in _cells(outcome)]
        table.add_row(*cells, gain)
    return table
