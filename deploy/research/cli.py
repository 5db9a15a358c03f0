"""``fedprint research``: comparisons that need all data on one machine."""

from pathlib import Path
from typing import Annotated

import typer

from aggregator.tables import wide_console
from deploy.research import NOT_FEDERATED

app = typer.Typer(
    no_args_is_help=True,
    help="Research on one machine that holds all data; NOT federated, raw features are read together.",
)


@app.callback()
def root() -> None:
    """Keep ``distances`` a sub-command though it is the only one."""


@app.command()
def distances(
    federation: Annotated[Path, typer.Argument(help="The federation file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for distances and features.")],
    transport_images: Annotated[
        int, typer.Option(min=2, max=1000, help="Most images per task for transport between samples.")
    ] = 500,
) -> None:
    """Compare the raw features of all tasks, and the fingerprints a federation would see, side by side."""
    console = wide_console()
    console.print(f"[bold yellow]{NOT_FEDERATED}[/bold yellow]")
    console.print("[bold]•[/bold] loading PyTorch")
    from deploy.federation_file import FederationConfig
    from deploy.progress_display import ProgressDisplay
    from deploy.research.compare import compare, show

    display = ProgressDisplay(console)
    with display.shown():
        compare(FederationConfig.read(federation), output.resolve(), transport_images, display)
    show(output.resolve(), console)
