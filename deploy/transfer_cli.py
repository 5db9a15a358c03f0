"""``fedprint transfer``: experiments that say whether a source helps a target."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aggregator.tables import wide_console
from deploy import INCOMPLETE, INTERRUPTED
from federation.errors import ConfigError

if TYPE_CHECKING:
    pass

# Commands that compute import torch inside the function: reading a catalogue must not wait for it.

app = typer.Typer(no_args_is_help=True, help="Experiments that say whether a source helps a target.")

NameOption = Annotated[str | None, typer.Option("--name", help="Name of the plan; by default the latest.")]


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
        complete = carry_out(simulated, console)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it stopped\n")
        raise typer.Exit(INTERRUPTED) from None
    console.print(f"finished in {time.monotonic() - started:.0f} s")
    if not complete:
        raise typer.Exit(INCOMPLETE)
