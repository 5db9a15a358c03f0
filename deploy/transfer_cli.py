"""``fedprint transfer``: experiments that say whether a source helps a target."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from aggregator.options import CatalogueOption, JsonOption, open_catalogue, print_json
from aggregator.tables import wide_console
from deploy import INCOMPLETE, INTERRUPTED, REPORTS_FOLDER
from federation.errors import ConfigError

# Commands that compute import torch inside the function: reading a catalogue must not wait for it.

app = typer.Typer(no_args_is_help=True, help="Experiments that say whether a source helps a target.")

NameOption = Annotated[str, typer.Option("--name", help="Name of the plan; by default the latest.")]


@app.command()
def run(
    plan: Annotated[
        Path | None, typer.Argument(help="The plan; `fedprint init transfer` writes one.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A small plan on the tasks of `fedprint demo`.")
    ] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the demo.")] = Path(
        "fedprint-demo"
    ),
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed in an earlier run.")
    ] = False,
) -> None:
    """Run the experiments of a plan on this machine; the same command goes on where it stopped."""
    if (plan is None) != demo:
        raise ConfigError(
            "nothing says which experiments" if plan is None else "a plan and --demo are both given",
            remedy="give a plan (`fedprint init transfer` writes one) or --demo",
        )
    console, started = wide_console(), time.monotonic()
    console.print("[bold]•[/bold] loading PyTorch")
    from deploy.transfer_run import carry_out, prepare_demo, prepare_plan_file

    try:
        simulated = prepare_plan_file(plan, console) if plan else prepare_demo(output.resolve(), console)
        complete = carry_out(simulated, console, retry_failed=retry_failed)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it stopped\n")
        raise typer.Exit(INTERRUPTED) from None
    console.print(f"finished in {time.monotonic() - started:.0f} s")
    if not complete:
        raise typer.Exit(INCOMPLETE)


@app.command()
def status(
    name: NameOption = "",
    catalogue: CatalogueOption = None,
    experiments: Annotated[bool, typer.Option("--experiments", help="A line for every experiment.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how far a plan is, also while it runs."""
    from aggregator.transfer.status import (
        duration,
        experiments_table,
        read_status,
        scenarios_table,
        sites_table,
        status_json,
    )

    found = read_status(open_catalogue(catalogue), name)
    if as_json:
        print_json(status_json(found))
        return
    console = wide_console()
    console.print(experiments_table(found) if experiments else scenarios_table(found), sites_table(found))
    left = duration(found.seconds_left)
    told = ", ".join(f"{n} {state}" for state, n in found.counts.items() if n)
    console.print(
        f"plan {found.known.plan.name}: {told}"
        + (f", {left} left or more" if left not in ("", "0 s") else "")
    )


@app.command()
def report(
    name: NameOption = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; by default transfer/NAME at the catalogue.")
    ] = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write page and tables about a plan; what is there is replaced."""
    from aggregator.transfer.queue import find_plan
    from aggregator.transfer.report import report_plan
    from aggregator.transfer.report.write import JSON

    store = open_catalogue(catalogue)
    folder = output or store.place.folder / REPORTS_FOLDER / find_plan(store, name).plan.name
    page, *tables = report_plan(store, folder, name)
    if as_json:
        typer.echo((folder / JSON).read_text("utf-8"), nl=False)
        return
    wide_console().print(f"report: {page}\ntables: {folder}, {len(tables)} files", markup=False)


@app.command()
def suggest(
    name: NameOption = "",
    top: Annotated[int, typer.Option("--top", min=1, help="How many.")] = 10,
    metric: Annotated[str, typer.Option(help="What is to be improved.")] = "auroc",
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Suggest the experiments that would teach most for their time."""
    from aggregator.transfer.next_experiments import suggest_next
    from aggregator.transfer.suggested import plan_snippet, say_suggestion, suggestions_json

    found = suggest_next(open_catalogue(catalogue), name, top, metric=metric)
    if as_json:
        print_json(suggestions_json(found))
        return
    console = wide_console()
    for place, each in enumerate(found, start=1):
        console.print(f"{place}. {say_suggestion(each)}", markup=False)
    told = (
        f"in a plan:\n{plan_snippet(found)}"
        if found
        else "nothing to suggest: every pair that policies allow was measured"
    )
    console.print(told, markup=False)
