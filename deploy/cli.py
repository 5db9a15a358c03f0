"""The command ``fedprint``."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from aggregator.cli import app as hub_app
from aggregator.tables import wide_console
from aggregator.validation.cli import validate
from deploy import INCOMPLETE, INTERRUPTED, SITE_THREAD
from deploy.research.cli import app as research_app
from deploy.space_cli import app as space_app
from deploy.transfer_cli import app as transfer_app
from federation import __version__
from federation.errors import ConfigError, FedprintError
from federation.files import write_atomically
from site_agent.cli import app as site_app

if TYPE_CHECKING:
    from deploy.federation_file import FederationConfig

# Commands that compute import torch inside the function: reading a catalogue must not wait for it.

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find out whose data is useful to whom, without moving an image.",
)
init_app = typer.Typer(no_args_is_help=True, help="Write commented example configurations.")
app.add_typer(hub_app, name="hub")
app.add_typer(site_app, name="site")
app.add_typer(space_app, name="space")
app.add_typer(transfer_app, name="transfer")
app.add_typer(init_app, name="init")
app.command()(validate)
app.add_typer(research_app, name="research")


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Find out whose data is useful to whom, without moving an image."""
    if version:
        typer.echo(f"fedprint {__version__}")
        raise typer.Exit


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for all results.")] = Path(
        "fedprint-demo"
    ),
) -> None:
    """Run an embedded consortium of real images: sites, aggregator, matrix, recommendations, report."""
    from deploy.demo import demo_federation

    _simulate_and_show(lambda: demo_federation(output.resolve()))


@app.command()
def simulate(
    federation: Annotated[Path, typer.Argument(help="The federation file.")],
) -> None:
    """Simulate a consortium of your own datasets on this machine."""
    from deploy.federation_file import FederationConfig

    _simulate_and_show(lambda: FederationConfig.read(federation))


@init_app.command("simulation")
def init_simulation(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("federation.toml"),
) -> None:
    """Write a commented example of a federation file."""
    _write_example("federation.example.toml", path)
    typer.echo(f"wrote {path}: name your datasets in it, then run `fedprint simulate {path}`")


@init_app.command("transfer")
def init_transfer(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("plan.toml"),
) -> None:
    """Write a commented example of a plan of transfer experiments."""
    _write_example("transfer.example.toml", path)
    typer.echo(f"wrote {path}: name your federation file in it, then run `fedprint transfer run {path}`")


def _write_example(example: str, path: Path) -> None:
    if path.exists():
        raise ConfigError(f"{path} exists already", remedy="choose another name or remove it")
    write_atomically(path, (Path(__file__).parent / example).read_bytes())


def _simulate_and_show(read: Callable[[], "FederationConfig"]) -> None:
    console = wide_console()
    started = time.monotonic()
    console.print("[bold]•[/bold] loading PyTorch")
    from deploy.progress_display import ProgressDisplay
    from deploy.results import show_results
    from deploy.simulation import simulate as run_simulation

    display = ProgressDisplay(console)
    try:
        with display.shown():
            config = read()
            run = run_simulation(config, display)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it stopped\n")
        raise typer.Exit(INTERRUPTED) from None
    complete = show_results(config, run, console)
    console.print(f"finished in {time.monotonic() - started:.0f} s")
    if not complete:
        raise typer.Exit(INCOMPLETE)


def main() -> None:
    """Run the command line; every expected error becomes one message and exit status 1."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_time=False, show_path=False)],
    )
    _leave(_run())


def _leave(status: int) -> None:
    """End the process; sites that are still at work after their deadline must not hold it up."""
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread.name.startswith(SITE_THREAD) for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)


def _run() -> int:
    try:
        return int(app(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FedprintError as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"[bold red]error:[/bold red] {escape(error.problem)}")
        if error.remedy:
            console.print(f"  → {escape(error.remedy)}")
        return 1
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
